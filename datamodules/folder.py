"""Any two folders as a datamodule."""

from typing import Any, ClassVar

from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.base import Source
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.folder import DEFAULT_LAYOUT, FolderDataset, FolderLayout
from ivif.datamodules.datasets.labels import chosen_classes
from ivif.datamodules.manifests import Manifest
from ivif.datamodules.paired import PairedDataModule


class FolderDataModule(PairedDataModule):
    """Your own pairs: two folders, matched by stem or by a pattern; see `ivif.datamodules.datasets.folder`.

    No manifest knows your names, so a share of them, chosen by the hash order that manifests use, is trained on; the
    rest is validated and tested on. `predict_stage: all` fuses everything.

    Args:
        layout: Which folders, how to pair, where the labels are.
        train_fraction: Share of the pairs to train on, in [0, 1].
        **kwargs: Arguments of `PairedDataModule`.

    Raises:
        ValueError: If `train_fraction` is out of range.
    """

    dataset_class: ClassVar[type[PairedDataset]] = FolderDataset

    def __init__(
        self,
        layout: FolderLayout = DEFAULT_LAYOUT,
        train_fraction: float = 0.8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= train_fraction <= 1:
            raise ValueError(f"train_fraction is {train_fraction}; it must lie in [0, 1].")
        self.layout = layout
        self.train_fraction = train_fraction

    def sources(self) -> list[Source]:
        """The one data set, with the classes given for its labels, if it has any."""
        labelled = self.layout.labels and self.reading.labels
        classes = chosen_classes(self.class_names, self.label_classes, self.layout.name) if labelled else ()
        return [Source(self.layout.name, self._open_split, classes)]

    def reader_options(self) -> dict[str, Any]:
        """The layout."""
        return {"layout": self.layout}

    def _open(self, source: Source, stage: str) -> Dataset[Sample] | None:
        reader = source.open("all")
        if stage != "all":
            manifest: Manifest = self.manifest
            ordered = manifest.order(reader.dataset_name, reader.names)
            cut = round(self.train_fraction * len(ordered))
            reader = reader.select(ordered[:cut] if stage == "train" else ordered[cut:])
        return self._prompted(reader)
