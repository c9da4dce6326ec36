"""A datamodule over one dataset on disk: the base of those that name a reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ivif.datamodules.base import FusionDataModule, Source
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.boxes import BoxRule
from ivif.datamodules.datasets.labels import chosen_classes
from ivif.files.errors import LabelError


class PairedDataModule(FusionDataModule):
    """A datamodule over one dataset on disk. A subclass names its reader, and adds the reader's own options.

    Args:
        root: The folder that holds the dataset's official layout.
        reading: Thermal range, labels, box rules.
        classes: The classes of objects to use, in this order, such as `[person, car]`: other objects are left out.
            Default: all that the dataset has.
        label_classes: What the ids in YOLO files mean, in their order, where no list beside them says it or that list
            is wrong.
        **kwargs: Arguments of `FusionDataModule`.
    """

    dataset_class: ClassVar[type[PairedDataset]]

    def __init__(
        self,
        root: Path,
        reading: ReadingConfig = ReadingConfig(),
        classes: Sequence[str] = (),
        label_classes: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.reading = reading
        self.class_names = tuple(classes)
        self.label_classes = tuple(label_classes)

    def reader_options(self) -> dict[str, Any]:
        """Further keyword arguments of the reader's constructor."""
        return {}

    def sources(self) -> list[Source]:
        """The one dataset of this datamodule."""
        return [
            Source(self.dataset_class.dataset_name, self._open_split, self._classes() if self.reading.labels else ())
        ]

    def _classes(self) -> tuple[str, ...]:
        """The classes to use, as the reader will find them.

        Raises:
            LabelError: If the dataset has no such classes.
        """
        reader = self.dataset_class
        if self.class_names and not reader.classes:
            raise LabelError(f"{reader.dataset_name} has no boxes: leave `classes` empty.")
        return chosen_classes(self.class_names, self.label_classes or reader.classes, reader.dataset_name)

    def box_rule(self) -> BoxRule:
        """Transforms drop what the reader would drop."""
        return self.reading.box_rule

    def _open_split(self, split: str) -> PairedDataset:
        chosen = {"classes": self.class_names, "label_classes": self.label_classes}
        given = {name: value for name, value in chosen.items() if value and self.reading.labels}
        options = given | self.reader_options()
        return self.dataset_class(self.root, split, reading=self.reading, **options)
