"""Text for every pair: a wrapper that adds `prompt` to any reader."""

import copy
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self, runtime_checkable

from torch.utils.data import Dataset

from ivif.contracts.batch import Sample, Targets
from ivif.datamodules.datasets.descriptions import describe, time_of_day
from ivif.datamodules.datasets.pairs.records import PairingReport
from ivif.datamodules.datasets.picture_words import describe_pair
from ivif.datamodules.datasets.prompt_files import Origin, PromptEntry, PromptError, read_prompt_folder, read_prompts

logger = logging.getLogger(__name__)

Source = Literal["none", "coarse", "fine", "file", "folder", "pairs", "auto"]
SOURCES: Final = ("none", "coarse", "fine", "file", "folder", "pairs", "auto")

_BY_NAME: Final = ("file", "folder", "pairs")
"""Sources that have a prompt of its own for each pair."""

SENTENCES: Final = {
    "m3fd": "An infrared and visible image pair of streets and campuses with people and cars in varied weather.",
    "tno": "An infrared and visible image pair of a military or surveillance scene with hidden people and vehicles.",
    "roadscene": "An infrared and visible image pair of a road scene with vehicles and pedestrians, seen from a car.",
    "msrs": "An infrared and visible image pair of a street by day or at night with people, bicycles and cars.",
    "llvip": "An infrared and visible image pair of a dimly lit street at night with pedestrians, seen from above.",
    "synthetic": "A rendered infrared and visible image pair of a road scene with people, cars, bicycles and lamps.",
    "folder": "An infrared and visible image pair of the same scene.",
}
"""The `coarse` sentence of each data set; `folder`'s serves all others."""


@runtime_checkable
class PromptableReader(Protocol):
    """What a reader must have to be given prompts; `PairedDataset` and `SyntheticDataset` do."""

    dataset_name: str
    classes: tuple[str, ...]
    has_labels: bool
    pairing: PairingReport

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def load_targets(self, index: int) -> Targets:
        """The objects of one pair, in the untransformed image."""

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of one pair."""

    def select(self, names: Iterable[str]) -> Self:
        """The same reader, reduced to `names` and in their order."""


@dataclass(frozen=True)
class PromptConfig:
    """Where prompts come from.

    Args:
        source: `none`: the empty prompt for every pair. `coarse`: one sentence for the data set. `auto`: the
            prompt of `path`, a JSONL, where it has one that was not made from boxes, else a sentence that the pictures
            themselves tell. `fine`: a template over the boxes and the mean visible luma, over the luma alone where a
            pair has no label file (generated scenes keep their own caption). `file`: a JSONL of
            `{"dataset", "name", "prompt"[, "source"]}`. `folder`: a text file per pair, `NAME.txt` at any depth; of
            several captions `NAME_1.txt`, `NAME_2.txt`, ... the first counts. `pairs`: the column `prompt` of a list of
            pairs (`layout.pairs`), or what a dataset was packed with, which count without this option.
        path: The JSONL file or the folder; `auto` can do without.
        sentence: The sentence of `coarse`; default: the data set's own.

    Raises:
        ValueError: If `source` is unknown, or `path` is missing where it is needed or given where nothing is read.
    """

    source: Source = "none"
    path: str | Path | None = None
    sentence: str | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"prompts.source is '{self.source}'; known: {', '.join(SOURCES)}.")
        if self.source in ("file", "folder") and not self.path:
            kind = "JSONL file" if self.source == "file" else "folder of text files"
            raise ValueError(f"prompts.source is '{self.source}' but prompts.path is not set: give the {kind}.")
        if self.source == "none" and self.path:
            raise ValueError("prompts.path is set, but prompts.source is 'none': set it to 'auto', or to 'file'.")


class PromptedDataset(Dataset[Sample]):
    """A reader whose samples have a `prompt`.

    Wrap a reader before random transforms: prompts describe the full frame, so that the text features of a pair can be
    computed once. A crop keeps the words of its full frame; a flip or turn moves left and right. Pairs without an entry
    in the file or folder get the empty prompt; one warning says how many.

    Args:
        reader: Any reader of pairs.
        source: Where prompts come from.

    Raises:
        PromptError: If the file or folder is missing or malformed.
    """

    def __init__(self, reader: PromptableReader, source: PromptConfig) -> None:
        self.reader = reader
        self.source = source
        self.dataset_name = reader.dataset_name
        self.classes = reader.classes
        self.has_labels = reader.has_labels
        self.pairing = reader.pairing
        self._unlabelled = frozenset(reader.pairing.unlabelled)
        self._table: dict[str, PromptEntry] = {}
        self._told: dict[str, str] = {}
        if source.source in _BY_NAME or (source.source == "auto" and source.path):
            self._table = self._read_table(Path(source.path or ""))
            if source.source == "auto":
                self._table = {name: entry for name, entry in self._table.items() if entry.source != "template"}
            missing = [name for name in reader.names if name not in self._table]
            if missing:
                self._say(missing)

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""
        return self.reader.names

    @property
    def leaks_labels(self) -> bool:
        """Whether any pair's prompt was made from its boxes."""
        return any(self._origin(name) == "template" for name in self.names)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Sample:
        sample = copy.copy(self.reader[index])
        sample["prompt"] = self._prompt(index, sample)
        return sample

    def prompt(self, index: int) -> str:
        """The prompt of one pair; decodes its images only where their content decides (`fine`, `auto`)."""
        return self._prompt(index, self.reader[index] if self._looks_at(self.names[index]) else None)

    def known_prompts(self) -> list[str]:
        """The prompts of all pairs, without opening a file; none of those that images decide (`fine`, `auto`)."""
        if self.source.source == "fine":
            return []
        if self.source.source == "auto":
            return [entry.prompt for name in self.names if (entry := self._table.get(name))]
        if self.source.source in _BY_NAME:
            return [entry.prompt if (entry := self._table.get(name)) else "" for name in self.names]
        return [self.prompt(0)] if len(self) else []

    def origin(self, index: int) -> Origin | None:
        """How the prompt of one pair was made; None where nobody knows, or where there is none."""
        return self._origin(self.names[index])

    def load_targets(self, index: int) -> Targets:
        """The objects of one pair."""
        return self.reader.load_targets(index)

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of one pair."""
        return self.reader.image_size(index)

    def select(self, names: Iterable[str]) -> Self:
        """The same data set, reduced to `names` and in their order.

        Raises:
            SplitError: If a name is not among the pairs.
        """
        subset = copy.copy(self)
        subset.reader = self.reader.select(names)
        return subset

    def _say(self, missing: list[str]) -> None:
        auto = self.source.source == "auto"
        logger.warning(
            "%d of %d pairs of %s have no prompt%s in '%s' (%s%s): %s.",
            len(missing), len(self.reader), self.dataset_name, " made without boxes" if auto else "",
            self.source.path or "the list of pairs", ", ".join(missing[:3]), ", ..." if len(missing) > 3 else "",
            "theirs is what their pictures tell" if auto else "theirs is empty",
        )  # fmt: skip

    def _origin(self, name: str) -> Origin | None:
        if self.source.source == "coarse":
            return "dataset"
        if self.source.source == "fine":
            return "template" if self._has_boxes(name) else "brightness"
        entry = self._table.get(name)
        if self.source.source == "auto" and not entry:
            return "pictures"
        return entry.source if entry else None

    def _looks_at(self, name: str) -> bool:
        return self.source.source == "fine" or (self.source.source == "auto" and name not in self._table)

    def _has_boxes(self, name: str) -> bool:
        """Whether anyone has looked for objects in a pair; without a label file nothing may be said about them."""
        return self.has_labels and name not in self._unlabelled

    def _prompt(self, index: int, sample: Sample | None) -> str:
        kind = self.source.source
        if kind == "coarse":
            return self.source.sentence or SENTENCES.get(self.dataset_name, SENTENCES["folder"])
        if kind == "fine" and sample is not None:
            targets = self.reader.load_targets(index) if self._has_boxes(sample["name"]) else None
            template = describe(time_of_day(sample["visible"]), targets, self.classes, self.reader.image_size(index))
            return sample.get("prompt") or template
        entry = self._table.get(sample["name"] if sample else self.names[index])
        if kind == "auto" and not entry and sample is not None:
            if sample["name"] not in self._told:
                self._told[sample["name"]] = describe_pair(sample["infrared"], sample["visible"])
            return self._told[sample["name"]]
        return entry.prompt if entry else ""

    def _read_table(self, path: Path) -> dict[str, PromptEntry]:
        if self.source.source == "pairs":
            listed: dict[str, PromptEntry] = getattr(self.reader, "listed_prompts", {})
            if not listed:
                raise PromptError(
                    "`prompts.source` is 'pairs', but no list in `layout.pairs` has the column 'prompt', and the "
                    "dataset was not packed with prompts."
                )
            return listed
        if self.source.source == "folder":
            return read_prompt_folder(path, self.reader.names, self.dataset_name)
        spelled = {name.casefold(): name for name in self.reader.names}  # names by a pattern were once in lower case
        entries = (entry for entry in read_prompts(path) if entry.dataset == self.dataset_name)
        return {spelled.get(entry.name.casefold(), entry.name): entry for entry in entries}


def known_prompts(readers: Iterable[Dataset[Sample]]) -> set[str]:
    """What the readers among these that have prompts know of them without opening a picture."""
    return {prompt for reader in readers if isinstance(reader, PromptedDataset) for prompt in reader.known_prompts()}


def warn_of_leaks(readers: Iterable[Dataset[Sample]], split: str, *, scores_detection: bool) -> bool:
    """As `warn_if_labels_leak`, for those of several readers that have prompts; whether any warned."""
    prompted = [reader for reader in readers if isinstance(reader, PromptedDataset)]
    warned = [warn_if_labels_leak(reader, split, scores_detection=scores_detection) for reader in prompted]
    return any(warned)


def warn_if_labels_leak(dataset: PromptedDataset, split: str, *, scores_detection: bool) -> bool:
    """Warns when boxes of a test split reach a detector's input through the prompt.

    Args:
        dataset: The prompted pairs.
        split: Which split they are.
        scores_detection: Whether mAP is computed on them.

    Returns:
        Whether it warned.
    """
    leaks = split == "test" and scores_detection and dataset.leaks_labels
    if leaks:
        logger.warning(
            "The prompts of %s ('test') are made from its boxes while mAP is scored on them: class, count and place of "
            "every object are told to the network before it is asked to find them, so the mAP is not comparable with "
            "any other. Use prompts.source 'auto' or 'coarse' (or captions made without labels) for mAP, and report "
            "this run only as an oracle.",
            dataset.dataset_name,
        )
    return leaks
