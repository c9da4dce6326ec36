"""LLVIP (Jia et al., ICCV Workshops 2021)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import DEFAULT_READING, PairedDataset, ReadingConfig
from ivif.datamodules.datasets.labels import attach_labels
from ivif.datamodules.datasets.pairs.finding import find_child
from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.datamodules.datasets.pairs.names import INFRARED_FOLDERS, VISIBLE_FOLDERS
from ivif.datamodules.datasets.pairs.records import FoundPairs

BOX_FOLDERS: Final = ("Annotations", "Annotation")
TEXT_FOLDERS: Final = ("labels", "label")
"""Where people keep what they have converted to YOLO."""


class LLVIP(PairedDataset):
    """Low-light street scenes from fixed cameras, with pedestrians.

    Link: https://bupt-ai-cz.github.io/LLVIP

    Features:
        * 12,025 training and 3,463 test pairs, 1280x1024

    Format:
        * `infrared/{train,test}/*.jpg` stored as RGB or as one channel, `visible/{train,test}/*.jpg` RGB
        * `Annotations/*.xml`: VOC, one folder for both splits; without it, `labels/{train,test}/*.txt` or
          `labels/*.txt` as YOLO: 0 person

    Classes: person.

    If you use it, cite: Jia et al., LLVIP: A Visible-infrared Paired Dataset for Low-light Vision, ICCVW 2021.

    Args:
        root: The folder with `infrared` and `visible`, or one a level above or below it.
        split: `train`, `test`, or `all` for both together.
        transforms: Applied to each sample.
        reading: How files are read.
        classes: The classes to use, in this order; default: all.
        label_classes: What the ids of YOLO files mean, in their order; default: as above.
    """

    dataset_name = "llvip"
    url = "https://bupt-ai-cz.github.io/LLVIP"
    license = "non-commercial; see the terms at the link"
    classes = ("person",)
    splits: ClassVar[tuple[str, ...]] = ("train", "test", "all")
    layouts = (
        "infrared/{train,test}/*.jpg, visible/{train,test}/*.jpg, Annotations/*.xml",
        "the same with labels/{train,test}/*.txt or labels/*.txt",
    )
    label_places = ("Annotations/*.xml", "labels/{train,test}/*.txt", "labels/*.txt")
    folder_names = ("LLVIP",)
    inner_folders = ("infrared", "visible", "Annotations", "train", "test")

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
    ) -> None:
        super().__init__(root, split, transforms, reading, classes, label_classes)

    def _find_pairs(self) -> FoundPairs:
        root, found = self._match_parts(self._part)
        labels = find_child(root, BOX_FOLDERS)
        return attach_labels(found, labels, (".xml",), shared=self.split != "all")

    @staticmethod
    def _part(root: Path, part: str) -> FoundPairs | None:
        infrared, visible = find_child(root, INFRARED_FOLDERS), find_child(root, VISIBLE_FOLDERS)
        if infrared is None or visible is None:
            return None
        infrared, visible = find_child(infrared, [part]), find_child(visible, [part])
        if infrared is None or visible is None:
            return None
        found = match_folders(infrared, visible)
        text = None if find_child(root, BOX_FOLDERS) else find_child(root, TEXT_FOLDERS)
        own = text and find_child(text, [part])
        return attach_labels(found, own or text, (".txt",), shared=own is None)
