"""MSRS (Tang et al., Information Fusion 2022)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import DEFAULT_READING, PairedDataset, ReadingConfig
from ivif.datamodules.datasets.labels import attach_labels
from ivif.datamodules.datasets.pairs.finding import find_child
from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.datamodules.datasets.pairs.names import INFRARED_FOLDERS, VISIBLE_FOLDERS
from ivif.datamodules.datasets.pairs.records import FoundPairs


class MSRS(PairedDataset):
    """Multi-spectral road scenes, day (names end in D) and night (N).

    Link: https://github.com/Linfeng-Tang/MSRS

    Features:
        * 1,083 training and 361 test pairs, 640x480
        * boxes for a part of them, annotated three times: on fused, on infrared and on visible images

    Format:
        * `{train,test}/ir/*.png` grey, `{train,test}/vi/*.png` RGB
        * `detection_labels/{fusion,infrared,visible}/{train,test}/*.txt`: YOLO; an empty file is an image without
        objects

    Classes: person, bicycle, car.

    If you use it, cite: Tang et al., PIAFusion: A Progressive Infrared and Visible Image Fusion Network Based on
    Illumination Aware, Information Fusion 83-84, 2022.

    Args:
        root: The folder with `train` and `test`, or one a level above or below it.
        split: `train`, `test`, or `all` for both together.
        transforms: Applied to each sample.
        reading: How files are read.
        labels: Whose boxes count.
        classes: The classes to use, in this order; default: all.
        label_classes: What the ids of YOLO files mean, in their order; default: as above.
    """

    dataset_name = "msrs"
    url = "https://github.com/Linfeng-Tang/MSRS"
    license = "none stated; made from MFNet"
    classes = ("person", "bicycle", "car")
    splits: ClassVar[tuple[str, ...]] = ("train", "test", "all")
    layouts = ("{train,test}/{ir,vi}/*.png, detection_labels/{fusion,infrared,visible}/{train,test}/*.txt",)
    label_places = ("detection_labels/{fusion,infrared,visible}/{train,test}/*.txt", "{train,test}/labels/*.txt")
    pair_options = ("labels",)
    folder_names = ("MSRS",)
    inner_folders = ("train", "test", "ir", "vi", "detection_labels")

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        labels: Literal["fusion", "infrared", "visible"] = "fusion",
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
    ) -> None:
        if labels not in ("fusion", "infrared", "visible"):
            raise ValueError(f"MSRS has no labels '{labels}'; known: fusion, infrared, visible.")
        self.labels = labels
        super().__init__(root, split, transforms, reading, classes, label_classes)

    def _find_pairs(self) -> FoundPairs:
        return self._match_parts(self._part)[1]

    def _part(self, root: Path, part: str) -> FoundPairs | None:
        folder = find_child(root, [part])
        if folder is None:
            return None
        infrared, visible = find_child(folder, INFRARED_FOLDERS), find_child(folder, VISIBLE_FOLDERS)
        if infrared is None or visible is None:
            return None
        boxes = find_child(root / "detection_labels" / self.labels, [part]) or find_child(folder, ["labels"])
        return attach_labels(match_folders(infrared, visible), boxes)
