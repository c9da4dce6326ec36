"""Text for every pair: a wrapper that adds `prompt` to any reader, and the JSONL format prompts are kept in."""

import copy
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self, runtime_checkable

from torch.utils.data import Dataset

from datamodules.datasets.batch import Sample, Targets
from datamodules.datasets.descriptions import describe, time_of_day
from datamodules.datasets.errors import DatasetError

logger = logging.getLogger(__name__)

Source = Literal["none", "coarse", "fine", "file", "folder"]
SOURCES: Final = ("none", "coarse", "fine", "file", "folder")

Origin = Literal["template", "dataset", "caption", "human"]
ORIGINS: Final = ("template", "dataset", "caption", "human")
"""How a prompt was made: from boxes, one sentence for the data set, by a captioning model, by a person."""

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


class PromptError(DatasetError):
    """A prompt file or folder is missing, or holds something that cannot be used."""


@runtime_checkable
class PromptableReader(Protocol):
    """What a reader must have to be given prompts; `PairedDataset` and `SyntheticDataset` do."""

    dataset_name: str
    classes: tuple[str, ...]
    has_labels: bool

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
        source: `none`: the empty prompt for every pair. `coarse`: one sentence for the data set. `fine`: a template
            over the boxes and the mean visible luma (generated scenes keep their own caption). `file`: a JSONL of
            `{"dataset", "name", "prompt"[, "source"]}`. `folder`: a text file per pair,
            `NAME.txt` at any depth; of several captions `NAME_1.txt`, `NAME_2.txt`, ... the first counts.
        path: The JSONL file or the folder.
        sentence: The sentence of `coarse`; default: the data set's own.

    Raises:
        ValueError: If `source` is unknown, or `path` is missing where it is needed.
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


@dataclass(frozen=True)
class PromptEntry:
    """One line of a prompt file; `source` says how the prompt was made, where that is known."""

    dataset: str
    name: str
    prompt: str
    source: Origin | None = None


class PromptedDataset(Dataset[Sample]):
    """A reader whose samples have a `prompt`.

    Wrap a reader before random transforms: prompts describe the full frame, so that the text features of a pair can be
    computed once. A horizontally flipped crop keeps the words of its full frame. Pairs without an entry in the file or
    folder get the empty prompt; one warning says how many.

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
        self._table: dict[str, PromptEntry] = {}
        if source.source in ("file", "folder"):
            self._table = self._read_table(Path(source.path or ""))
            missing = [name for name in reader.names if name not in self._table]
            if missing:
                logger.warning(
                    "%d of %d pairs of %s have no prompt in '%s' (%s%s): theirs is empty.",
                    len(missing), len(reader), self.dataset_name, source.path, ", ".join(missing[:3]),
                    ", ..." if len(missing) > 3 else "",
                )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""
        return self.reader.names

    @property
    def leaks_labels(self) -> bool:
        """Whether any pair's prompt was made from its boxes."""
        if self.source.source == "fine":
            return self.reader.has_labels
        return any(self._table[name].source == "template" for name in self.names if name in self._table)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Sample:
        sample = copy.copy(self.reader[index])
        sample["prompt"] = self._prompt(index, sample)
        return sample

    def prompt(self, index: int) -> str:
        """The prompt of one pair; decodes its images only where their content decides (`fine`)."""
        return self._prompt(index, self.reader[index] if self.source.source == "fine" else None)

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

    def _prompt(self, index: int, sample: Sample | None) -> str:
        kind = self.source.source
        if kind == "coarse":
            return self.source.sentence or SENTENCES.get(self.dataset_name, SENTENCES["folder"])
        if kind == "fine" and sample is not None:
            targets = self.reader.load_targets(index) if self.has_labels else None
            template = describe(time_of_day(sample["visible"]), targets, self.classes, self.reader.image_size(index))
            return sample.get("prompt") or template
        if kind in ("file", "folder"):
            entry = self._table.get(sample["name"] if sample else self.names[index])
            return entry.prompt if entry else ""
        return ""

    def _read_table(self, path: Path) -> dict[str, PromptEntry]:
        if self.source.source == "folder":
            return _read_folder(path, self.reader.names, self.dataset_name)
        return {entry.name: entry for entry in read_prompts(path) if entry.dataset == self.dataset_name}


def read_prompts(path: Path) -> list[PromptEntry]:
    """Reads a prompt file, one JSON object a line; blank lines are skipped, of two lines for one pair the last counts.

    Raises:
        PromptError: If the file is missing or a line is malformed; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(
            f"Cannot read the prompt file '{path}': {error}. Write one with `python main.py data prompts --out {path}`."
        ) from error
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(line: str, path: Path, number: int) -> PromptEntry:
    where = f"'{path}', line {number}"
    wanted = '{"dataset": "msrs", "name": "00001D", "prompt": "..."}'
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise PromptError(f"{where}: not a JSON object ({error.msg}). Each line looks like {wanted}.") from error
    if not isinstance(value, dict):
        raise PromptError(f"{where}: not a JSON object. Each line looks like {wanted}.")
    for key in ("dataset", "name", "prompt"):
        if not isinstance(value.get(key), str):
            raise PromptError(f"{where}: '{key}' is missing or not a text. Each line looks like {wanted}.")
    origin = value.get("source")
    if origin is not None and origin not in ORIGINS:
        raise PromptError(f"{where}: 'source' is {origin!r}; known: {', '.join(ORIGINS)}, or leave it out.")
    return PromptEntry(value["dataset"], value["name"], value["prompt"], origin)


def save_prompts(path: Path, entries: Iterable[PromptEntry]) -> None:
    """Writes a prompt file; a reader sees the old file or the new one, never a part."""
    lines = []
    for entry in entries:
        fields = {"dataset": entry.dataset, "name": entry.name, "prompt": entry.prompt, "source": entry.source}
        lines.append(json.dumps({key: value for key, value in fields.items() if value is not None}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def _read_folder(folder: Path, names: Iterable[str], dataset: str) -> dict[str, PromptEntry]:
    """Text files by stem at any depth: `NAME.txt`, or the first of several captions, `NAME_1.txt`."""
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.txt")):
        files.setdefault(file.stem, []).append(file)
    if not files:
        raise PromptError(
            f"No text files under '{folder}'. Point prompts.path at the folder that holds NAME.txt files."
        )
    known, table = set(names), {}
    for name in known:
        stem = Path(name).name
        numbered = f"{stem}_1"
        found = files.get(stem) or (files.get(numbered, []) if numbered not in known else [])
        if len(found) > 1:
            raise PromptError(
                f"'{name}' has {len(found)} prompts under '{folder}': '{found[0]}', '{found[1]}'. Point prompts.path "
                f"at one of their folders."
            )
        if found:
            table[name] = PromptEntry(dataset, name, _read_text(found[0]))
    return table


def _read_text(file: Path) -> str:
    try:
        return " ".join(file.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"Cannot read the prompt '{file}': {error}. Store it as UTF-8 text.") from error


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
            "any other. Use prompts.source 'coarse' (or captions made without labels) for mAP, and report this run "
            "only as an oracle.",
            dataset.dataset_name,
        )
    return leaks
