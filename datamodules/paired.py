"""A datamodule over one dataset on disk: the base of those that name a reader."""

from pathlib import Path
from typing import Any, ClassVar

from ivif.datamodules.base import FusionDataModule, Source
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.boxes import BoxRule


class PairedDataModule(FusionDataModule):
    """A datamodule over one dataset on disk. A subclass names its reader, and adds the reader's own options.

    Args:
        root: The folder that holds the dataset's official layout.
        reading: Thermal range, labels, box rules.
        **kwargs: Arguments of `FusionDataModule`.
    """

    dataset_class: ClassVar[type[PairedDataset]]

    def __init__(self, root: Path, reading: ReadingConfig = ReadingConfig(), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.reading = reading

    def reader_options(self) -> dict[str, Any]:
        """Further keyword arguments of the reader's constructor."""
        return {}

    def sources(self) -> list[Source]:
        """The one dataset of this datamodule."""
        classes = self.dataset_class.classes if self.reading.labels else ()
        return [Source(self.dataset_class.dataset_name, self._open_split, classes)]

    def box_rule(self) -> BoxRule:
        """Transforms drop what the reader would drop."""
        return self.reading.box_rule

    def _open_split(self, split: str) -> PairedDataset:
        return self.dataset_class(self.root, split, reading=self.reading, **self.reader_options())
