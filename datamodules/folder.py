"""Any two folders as a datamodule."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.base import Source
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.folder import DEFAULT_LAYOUT, STAGES, FolderDataset, FolderLayout, settled
from ivif.datamodules.datasets.labels import chosen_classes
from ivif.datamodules.manifest_rules import known_manifests
from ivif.datamodules.paired import PairedDataModule


class FolderDataModule(PairedDataModule):
    """Your own pairs: two folders, matched by stem or by a pattern; see `ivif.datamodules.datasets.folder`.

    Where folders or lists say what is for training and what for testing, that counts; without validation pairs the test
    pairs validate, and the other way round. Else a share of the pairs, chosen by the hash order that manifests use, is
    trained on, and the rest is validated and tested on; sequences are not divided. A manifest of your own that covers
    `layout.name` counts before all of these. `predict_stage: all` fuses all.

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
        chosen = settled(self.root, layout, self.class_names, self.label_classes)
        self.layout, self.class_names, self.label_classes = chosen
        self.train_fraction = train_fraction

    def sources(self) -> list[Source]:
        """The one data set, with the classes given for its labels, if it has any."""
        labelled = (self.layout.labels or self.layout.pairs) and self.reading.labels
        classes = chosen_classes(self.class_names, self.label_classes, self.layout.name) if labelled else ()
        return [Source(self.layout.name, self._open_split, classes)]

    def reader_options(self) -> dict[str, Any]:
        """The layout."""
        return {"layout": self.layout}

    def _open(self, source: Source, stage: str) -> Dataset[Sample] | None:
        if source.dataset in self.manifest.rules and self.manifest.name not in known_manifests():
            return super()._open(source, stage)
        reader = cast("FolderDataset", source.open("all"))
        reader.measured_range = self._ranges.setdefault(source.dataset, reader.measured_range)
        return self._prompted(reader if stage == "all" else reader.select(self._names(reader, stage)))

    def _names(self, reader: FolderDataset, stage: str) -> list[str]:
        """The pairs of a stage."""
        parts = {split: reader.names_of(split) for split in STAGES}
        listed = [split for split in STAGES if getattr(self.layout, f"{split}_list")]
        if listed and "train" not in listed:
            parts["train"] = reader.names_of("")
        elif listed == ["train"]:
            parts["test"] = reader.names_of("")
        if listed or (parts["train"] and (parts["val"] or parts["test"])):
            return parts[stage] or parts[{"val": "test", "test": "val"}.get(stage, stage)]
        ordered = self._ordered(reader, reader.names)
        trained = dict.fromkeys(self._trained(reader, ordered))
        return list(trained) if stage == "train" else [name for name in ordered if name not in trained]

    def _trained(self, reader: FolderDataset, ordered: Sequence[str]) -> list[str]:
        """The pairs to train on where nothing says which: whole sequences, where there are several."""
        wanted, sequences = round(self.train_fraction * len(ordered)), reader.sequences()
        if len(sequences) == 1 or wanted in (0, len(ordered)):
            return list(ordered[:wanted])
        taken: list[str] = []
        for sequence in self._ordered(reader, sequences):
            count = len(taken) + len(sequences[sequence])
            if abs(count - wanted) < abs(len(taken) - wanted) and count < len(ordered):
                taken += sequences[sequence]
        return taken or min(sequences.values(), key=len)

    def _ordered(self, reader: FolderDataset, names: Iterable[str]) -> list[str]:
        """In hash order, in lower case with a pattern: names were once stored so, and splits stay as they are."""
        spelled = {name.casefold() if self.layout.pattern else name: name for name in names}
        return [spelled[name] for name in self.manifest.order(reader.dataset_name, spelled)]
