"""M3FD (Liu et al., CVPR 2022)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import DEFAULT_READING, PairedDataset, ReadingConfig
from ivif.datamodules.datasets.labels import attach_labels
from ivif.datamodules.datasets.pairs.finding import find_child
from ivif.datamodules.datasets.pairs.names import INFRARED_FOLDERS, VISIBLE_FOLDERS
from ivif.datamodules.datasets.pairs.records import FoundPairs

ANNOTATION_FOLDERS = ("Annotation", "Annotations", "labels", "label")


class M3FD(PairedDataset):
    """Multi-scenario multi-modality driving pairs with boxes.

    Link: https://github.com/JinyuanLiu-CV/TarDAL

    Features:
        * `detection`: 4,200 registered pairs, 3,926 of them 1024x768, with 34,407 boxes
        * `fusion`: 300 further pairs without boxes
        * day, overcast, night and challenging weather; no official split (`all`: splits come from manifests)

    Format:
        * `Ir/*.png`, `Vis/*.png`: 8-bit RGB, the infrared with three equal channels
        * `Annotation/*.xml`: VOC; where it is missing `labels/*.txt`: YOLO, ids in the order of the classes below

    Classes: People, Car, Bus, Lamp, Motorcycle, Truck. Sources disagree on ids, hence VOC names come first.

    If you use it, cite: Liu et al., Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality
    Benchmark to Fuse Infrared and Visible for Object Detection, CVPR 2022.

    Args:
        root: The folder with `Ir` and `Vis`, or one a level above or below it.
        split: `all`.
        transforms: Applied to each sample.
        reading: How files are read.
        subset: `detection` or `fusion`; the latter is called `m3fd_fusion` in samples, as the names overlap.
        classes: The classes to use, in this order; default: all.
        label_classes: What the ids of YOLO files mean, in their order; default: as above.
    """

    dataset_name = "m3fd"
    url = "https://github.com/JinyuanLiu-CV/TarDAL"
    license = "see the terms at the link"
    classes = ("People", "Car", "Bus", "Lamp", "Motorcycle", "Truck")
    layouts = ("Ir/*.png, Vis/*.png, Annotation/*.xml", "ir/*.png, vi/*.png, labels/*.txt")
    label_places: tuple[str, ...] = ("Annotation/*.xml", "Annotations/*.xml", "labels/*.txt", "label/*.txt")
    pair_options = ("subset",)
    folder_names = ("M3FD_Detection", "M3FD_Fusion", "M3FD")
    inner_folders = ("Ir", "Vis", "vi", "Annotation", "Annotations", "labels")

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        subset: Literal["detection", "fusion"] = "detection",
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
    ) -> None:
        if subset not in ("detection", "fusion"):
            raise ValueError(f"M3FD has no subset '{subset}'; known: detection, fusion.")
        self.subset = subset
        if subset == "fusion":
            self.dataset_name = "m3fd_fusion"
            self.label_places = ()
        super().__init__(root, split, transforms, reading, classes, label_classes)

    def _roots(self) -> list[Path]:
        """Folders named after the wanted subset first; never those named after the other one."""
        other = "fusion" if self.subset == "detection" else "detection"
        roots = [root for root in super()._roots() if root == self.root or other not in root.name.casefold()]
        return sorted(roots, key=lambda root: self.subset not in root.name.casefold())

    def _find_pairs(self) -> FoundPairs:
        root, found = self._match_first(INFRARED_FOLDERS, VISIBLE_FOLDERS)
        if self.subset == "fusion":
            return found
        for folder in ANNOTATION_FOLDERS:
            labeled = attach_labels(found, find_child(root, [folder]), (".xml", ".txt"))
            if any(record.label for record in labeled.records):
                return labeled
            found = replace(found, stray_labels=labeled.stray_labels)
        return found
