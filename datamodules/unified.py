"""Several datasets as one: mixed in training, each for itself in validation and test."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.base import FusionDataModule, Source
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.boxes import BoxRule
from ivif.datamodules.datasets.labels import chosen_classes
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.datasets.tno import TNO
from ivif.datamodules.start_checks import files_of
from ivif.files.errors import DatasetNotFoundError, LabelError

logger = logging.getLogger(__name__)

READERS: dict[str, Callable[..., PairedDataset]] = {
    "roadscene": RoadScene,
    "llvip": LLVIP,
    "msrs": MSRS,
    "m3fd": M3FD,
    "tno": TNO,
    "m3fd_fusion": partial(M3FD, subset="fusion"),
}
"""The datasets that can be mixed, by name. M3FD's 300 fusion pairs, a download of their own, are one more."""

DEFAULT_DATASETS = ("roadscene", "llvip", "msrs", "m3fd", "tno")
"""The five of MGFusion's protocol."""

DEFAULT_UNIFIED_READING = ReadingConfig(labels=False)
"""Without boxes: the datasets' classes differ, and a batch that mixes them could not say what a label means."""


class UnifiedDataModule(FusionDataModule):
    """Datasets side by side under one root, with the counts that a manifest gives each of them.

    A user with part of the data gets what is there, and a warning about what is not; `strict` makes that an error.

    Args:
        root: Folder that holds the datasets' folders, whatever the case of their names (`RoadScene`, `msrs`, ...).
        datasets: Which datasets, in the order of the loaders.
        roots: Dataset name -> its folder, for those that lie elsewhere.
        reading: Thermal range and the like; boxes are off, because classes differ, unless `classes` says which to use.
        classes: The classes of objects to use, in this order, of datasets that all mark them: `[person]` of M3FD, MSRS
            and LLVIP. Other objects are left out.
        **kwargs: Arguments of `FusionDataModule`.

    Raises:
        ValueError: If a dataset's name is unknown.
        LabelError: If a dataset has no boxes of one of `classes`.
    """

    def __init__(
        self,
        root: Path,
        datasets: Sequence[str] = DEFAULT_DATASETS,
        roots: Mapping[str, Path] | None = None,
        reading: ReadingConfig = DEFAULT_UNIFIED_READING,
        classes: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        unknown = [name for name in (*datasets, *(roots or {})) if name not in READERS]
        if unknown:
            raise ValueError(f"Unknown datasets: {', '.join(unknown)}. Known are {', '.join(READERS)}.")
        self.root = Path(root)
        self.datasets = tuple(datasets)
        self.roots = dict(roots or {})
        self.reading = replace(reading, labels=True) if classes else reading
        self.class_names = tuple(classes)
        if classes:
            self._check_classes()
        self._not_found: set[str] = set()

    def sources(self) -> list[Source]:
        """The datasets asked for."""
        return [Source(name, self._opener(name), self._classes_of(name)) for name in self.datasets]

    def box_rule(self) -> BoxRule:
        """Transforms drop what the readers would drop."""
        return self.reading.box_rule

    def stage_readers(self, stage: str) -> list[Dataset[Sample]]:
        """The readers of a stage, one per dataset that has pairs there.

        Raises:
            DatasetNotFoundError: If there are none because the datasets are not where they were looked for.
        """
        readers = super().stage_readers(stage)
        if not readers and self._not_found:
            absent = [name for name in self.datasets if name in self._not_found or not self._root_of(name).is_dir()]
            folders = [
                f"{self.roots.get(name) or f'{_folder_name(name)}/ (any case)'}: {_url(name)}" for name in absent
            ]
            remedy = (
                "Download those that you want (`ivif data download` can get some), unpack them side by side, and point "
                "`root` at the folder that holds theirs (DATASETS.md shows the expected layouts); `roots` names others."
            )
            raise DatasetNotFoundError(", ".join(self.datasets), self.root, folders, remedy=remedy)
        return readers

    def _classes_of(self, name: str) -> tuple[str, ...]:
        return (self.class_names or _labelled_classes(name)) if self.reading.labels else ()

    def _check_classes(self) -> None:
        """Refuses a dataset that does not mark what is asked for: its pairs would teach that it is not there."""
        unlabelled = [name for name in self.datasets if not _labelled_classes(name)]
        if unlabelled:
            labelled = ", ".join(name for name in self.datasets if name not in unlabelled) or "m3fd, msrs, llvip"
            raise LabelError(
                f"`classes` asks for boxes, which {', '.join(unlabelled)} does not have: set `datasets` to those that "
                f"do, [{labelled}]."
            )
        for name in self.datasets:
            try:
                chosen_classes(self.class_names, _labelled_classes(name), name)
            except LabelError as error:
                raise LabelError(f"{error} Or leave {name} out of `datasets`.") from None

    def _opener(self, name: str) -> Callable[[str], PairedDataset]:
        chosen: dict[str, Any] = {"classes": self.class_names} if self.class_names else {}
        return partial(_open_split, READERS[name], self._root_of(name), reading=self.reading, **chosen)

    def _root_of(self, name: str) -> Path:
        return Path(self.roots.get(name) or _folder_named(self.root, _folder_name(name)))

    def _open(self, source: Source, stage: str) -> Dataset[Sample] | None:
        try:
            reader = super()._open(source, stage)
        except DatasetNotFoundError as error:
            if self.strict:
                raise
            logger.warning(
                "%s is left out: %s", source.dataset, str(error).partition(" Looked for:")[0].splitlines()[0]
            )
            self._not_found.add(source.dataset)
            return None
        if self.class_names and reader is not None:
            _check_labels(reader, source.dataset, stage)
        return reader


def _open_split(reader: Callable[..., PairedDataset], root: Path, split: str, **options: Any) -> PairedDataset:
    return reader(root, split, **options)


def _check_labels(reader: Dataset[Sample], name: str, stage: str) -> None:
    """A dataset without a label file cannot be learnt from beside others; elsewhere its detections are not scored."""
    files = files_of(reader)
    if files is None or files.has_labels:
        return
    found = f"no pair of {name} has a label file. {files.where_boxes_were_looked_for}"
    if stage == "train":
        raise LabelError(f"A detector would learn that nothing is there: {found}. Or leave {name} out of `datasets`.")
    logger.warning("%s: %s; its detections are not scored.", stage, found)


def _labelled_classes(name: str) -> tuple[str, ...]:
    """The classes of a dataset's boxes; () where it has none."""
    reader = READERS[name]
    return tuple(getattr(reader, "classes", ())) if isinstance(reader, type) else ()  # m3fd_fusion is a partial


def _folder_name(name: str) -> str:
    return name.removesuffix("_fusion")


def _url(name: str) -> str:
    reader = READERS[name]
    return str(getattr(reader.func if isinstance(reader, partial) else reader, "url", ""))


def _folder_named(root: Path, name: str) -> Path:
    """The folder of that name under `root`, whatever its case; without one, the plain path, for errors to name."""
    if root.is_dir():
        for entry in sorted(root.iterdir()):
            if entry.is_dir() and entry.name.lower() == name:
                return entry
    return root / name
