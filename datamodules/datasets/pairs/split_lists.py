"""Lists that say which pairs a stage has: names in a text file, one a line, or in a column of a CSV file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.pairs.lists import csv_rows, list_text
from ivif.datamodules.datasets.pairs.names import bare_folders, bare_stem, folded, without_ending
from ivif.datamodules.datasets.pairs.records import PairRecord, first_of
from ivif.files.errors import SplitError
from ivif.files.names import printable

NAME_COLUMNS: Final = ("name", "visible", "image", "file_name", "filename", "file", "infrared")
"""Which column of a CSV file names a pair, best first; a file without any of them is a list without a first line."""


def listed_splits(records: Sequence[PairRecord], lists: Mapping[str, Path]) -> list[PairRecord]:
    """The pairs with the splits that lists give them; those in no list have none.

    A line is a pair's name, or one of its files, with or without ending and folders: `00001D`, `vi/00001D.png`,
    `set00/V000/I01216`, `set00/V000/visible/I01216.jpg`.

    Args:
        records: All pairs.
        lists: Stage -> file.

    Raises:
        PairingError: If a list is missing or no text.
        SplitError: If a line names no pair or several, or a pair stands in two lists.
    """
    known = _forms_of(records)
    split_of: dict[str, str] = {}
    for stage, path in lists.items():
        lines = _lines(path, stage)
        named = [(line, _find(line, known)) for line in lines]
        if unknown := [printable(line) for line, name in named if not name]:
            raise SplitError(
                f"{len(unknown)} of {len(lines)} lines of '{path}' name none of the {len(records)} pairs, or several "
                f"of them ({first_of(unknown)}). Names are those of pictures without their ending, such as "
                f"'{'/'.join(records[0].key) or records[0].name}'; remove the lines, or complete the data."
            )
        for line, name in named:
            if split_of.setdefault(name, stage) != stage:
                raise SplitError(
                    f"'{printable(line)}' stands in the lists of '{split_of[name]}' and of '{stage}' ('{path}'): "
                    f"results would be measured on training pairs. Remove it from one of them."
                )
    return [replace(record, split=split_of.get(record.name, "")) for record in records]


def _lines(path: Path, stage: str) -> list[str]:
    text = list_text(path, f"`layout.{stage}_list`")
    if path.suffix.lower() != ".csv":
        return [line.strip() for line in text.split("\n") if line.strip()]
    rows = [row for _, row in csv_rows(path, text)]
    column = next((name for name in NAME_COLUMNS if rows and name in rows[0]), None)
    if column is None:  # one name a line, whatever the file is called
        return [line.strip().strip('"') for line in text.split("\n") if line.strip()]
    return [row[column] for row in rows if row[column]]


def _forms_of(records: Sequence[PairRecord]) -> dict[str, str]:
    """Names by all that a line may call a pair; those of several pairs are empty."""
    known: dict[str, str] = {}
    for record in records:
        key = folded(record.key)
        forms = {"/".join(key[start:]) for start in range(len(key))}
        forms |= {path.stem.casefold() for path in (record.infrared, record.visible)}
        for form in forms:
            known[form] = record.name if known.get(form, record.name) == record.name else ""
    return known | {record.name.casefold(): record.name for record in records}


def _find(line: str, known: Mapping[str, str]) -> str:
    """The name of the one pair that a line means; empty where it means none, or several."""
    return next((known[form] for form in _forms(line) if form in known), "")


def _forms(line: str) -> Iterator[str]:
    """What of a line may be known, most of it first."""
    yield line.casefold()
    parts = [part for part in without_ending(line).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        return
    folders = bare_folders(parts[:-1])
    for start in range(len(folders) + 1):
        for stem in (parts[-1], bare_stem(parts[-1])):
            yield "/".join((*folders[start:], stem)).casefold()
