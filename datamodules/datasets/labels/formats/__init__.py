"""VOC xml, YOLO txt, COCO json and LabelMe json as class names and boxes, a file per format.

Sources disagree on class ids, so an id never leaves this room: a YOLO id becomes a name through the order that its
source declares (see `class_lists`), a COCO id through its categories, and only the name decides.
"""

from typing import Final

from ivif.datamodules.datasets.labels.formats.class_lists import (
    CLASS_LIST_FILES,
    ClassLists,
    class_lists,
    listed_classes,
)
from ivif.datamodules.datasets.labels.formats.coco import coco_stems, parse_coco
from ivif.datamodules.datasets.labels.formats.labelme import is_labelme, parse_labelme
from ivif.datamodules.datasets.labels.formats.shared import Box, FileState, LabeledBox, LabeledPicture, file_state
from ivif.datamodules.datasets.labels.formats.voc import parse_voc
from ivif.datamodules.datasets.labels.formats.yolo import parse_yolo

LABEL_FORMATS: Final = {"voc": ".xml", "yolo": ".txt", "coco": ".json", "labelme": ".json"}
"""Formats and the endings of their files, the best format first."""

__all__ = [
    "CLASS_LIST_FILES",
    "LABEL_FORMATS",
    "Box",
    "ClassLists",
    "FileState",
    "LabeledBox",
    "LabeledPicture",
    "class_lists",
    "coco_stems",
    "file_state",
    "is_labelme",
    "listed_classes",
    "parse_coco",
    "parse_labelme",
    "parse_voc",
    "parse_yolo",
]
