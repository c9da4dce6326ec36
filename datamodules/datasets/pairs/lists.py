"""A list of pairs in a file: which pictures are partners, and what else is known of them."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.pairs.matching import Options, refuse_itself
from ivif.datamodules.datasets.pairs.names import STAGE_OF_WORD, Picture, bare_folders, pair_names, stage_of
from ivif.datamodules.datasets.pairs.records import PairRecord
from ivif.files.errors import PairingError, plain_name
from ivif.files.names import printable
from ivif.files.text_files import EncodingError, read_text

COLUMNS: Final = ("infrared", "visible", "label", "prompt", "split", "name")
"""What a list may say of a pair; the first two are needed."""

LARGEST: Final = 100_000_000
"""Bytes of a list: a million pairs."""

_LIKE: Final = {
    ".csv": "Its first line names the columns: infrared,visible,label,prompt,split,name (the last four at will).",
    ".jsonl": 'Each line looks like {"infrared": "ir/1.png", "visible": "vi/1.png", "split": "train"}.',
}

Row = Mapping[str, str]


def read_pairs(path: Path, root: Path) -> tuple[list[PairRecord], list[str]]:
    """Reads a list of pairs: a CSV file with the names of its columns, or JSON lines (`.jsonl`).

    Args:
        path: The list.
        root: What paths in it are relative to.

    Returns:
        The pairs, and columns that are not read.

    Raises:
        PairingError: If the list is missing or malformed, or says what cannot be; names file, line and value.
    """
    rows = list(_json_rows(path) if path.suffix.lower() == ".jsonl" else _csv_rows(path))
    if not rows:
        raise PairingError(f"'{path}' lists no pair. {_like(path)}")
    files = _Files(root)
    records = _keyed([_record(f"'{path}', line {number}", row, files) for number, row in rows])
    _refuse_twice(path, [number for number, _ in rows], records)
    if not any("split" in row for _, row in rows):
        records = [replace(record, split=stage_of(record.key)) for record in records]
    if any(record.prompt is not None for record in records):
        records = [replace(record, prompt=record.prompt or "") for record in records]
    return records, list(dict.fromkeys(column for _, row in rows for column in row if column not in COLUMNS))


def list_text(path: Path, option: str) -> str:
    """The text of a list.

    Raises:
        PairingError: If it is missing, no text or too large.
    """
    if not path.is_file():
        raise PairingError(f"There is no file '{path}'. Correct {option}, which is relative to `root`.")
    if path.stat().st_size > LARGEST:
        raise PairingError(f"'{path}' has more than {LARGEST} bytes: it is no list. Correct {option}.")
    try:
        return read_text(path)
    except (EncodingError, OSError) as error:
        raise PairingError(f"Cannot read the list '{path}': {error}") from error


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file by the columns that its first line names (in any case), each with its line.

    Raises:
        PairingError: If a row has more values than the first line has names.
    """
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    try:
        for row in reader:
            if None in row:
                raise PairingError(f"'{path}', line {reader.line_num}: more values than the first line has columns.")
            yield reader.line_num, {key.strip().casefold(): (value or "").strip() for key, value in row.items()}
    except csv.Error as error:
        raise PairingError(f"'{path}', line {reader.line_num}: {error}. {_like(path)}") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    for number, row in csv_rows(path, list_text(path, "`layout.pairs`")):
        if absent := [column for column in COLUMNS[:2] if column not in row]:
            raise PairingError(f"'{path}': the first line names no column '{absent[0]}'. {_like(path)}")
        yield number, row


def _json_rows(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(list_text(path, "`layout.pairs`").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise PairingError(f"'{path}', line {number}: no JSON object ({error}). {_like(path)}") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(column) or "", str) for column in COLUMNS):
            raise PairingError(f"'{path}', line {number}: no JSON object of texts. {_like(path)}")
        yield number, {key: (row[key] or "") if key in COLUMNS else "" for key in row}


def _like(path: Path) -> str:
    return _LIKE[".jsonl" if path.suffix.lower() == ".jsonl" else ".csv"]


class _Files:
    """Files by the paths that a list gives, each folder listed once.

    Args:
        root: What the paths are relative to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, dict[str, os.DirEntry[str]]] = {}

    def find(self, value: str) -> Picture | None:
        """The file of a path; None where it is not there."""
        path = self.root / value
        folder = str(path.parent)
        if folder not in self._known:
            try:
                with os.scandir(folder) as entries:
                    self._known[folder] = {entry.name: entry for entry in entries}
            except (OSError, ValueError):  # a path may hold what no file system takes
                self._known[folder] = {}
        entry = self._known[folder].get(path.name)
        return Picture(path, inode=entry.inode(), is_link=entry.is_symlink()) if entry else None


def _record(where: str, row: Row, files: _Files) -> PairRecord:
    infrared, visible = (_picture(where, row, column, files) for column in ("infrared", "visible"))
    refuse_itself(infrared, visible, Options(f"{where}: infrared", "visible", "", ""))
    label = files.find(row["label"]) if row.get("label") else None
    if row.get("label") and label is None:
        raise PairingError(f"{where}: the label '{printable(row['label'])}' is not under '{files.root}'.")
    split = row.get("split", "")
    if split and split.casefold() not in STAGE_OF_WORD:
        raise PairingError(f"{where}: the split is '{printable(split)}'; known: train, val, test, or nothing.")
    try:
        name = plain_name(row["name"], "name") if row.get("name") else ""
    except ValueError as error:
        raise PairingError(f"{where}: {error}") from error
    key = (*bare_folders(Path(row["visible"]).parent.parts), visible.path.stem)
    prompt = row.get("prompt")
    stage = STAGE_OF_WORD.get(split.casefold(), "")
    return PairRecord(name, infrared.path, visible.path, label.path if label else None, "visible", key, stage, prompt)


def _refuse_twice(path: Path, lines: Sequence[int], records: Sequence[PairRecord]) -> None:
    first: dict[tuple[Path, Path], int] = {}
    for number, record in zip(lines, records, strict=True):
        earlier = first.setdefault((record.infrared, record.visible), number)
        if earlier != number:
            raise PairingError(f"'{path}', line {number}: the pair stands in line {earlier} too. Remove one of them.")


def _picture(where: str, row: Row, column: str, files: _Files) -> Picture:
    value = row.get(column, "")
    if not value:
        raise PairingError(f"{where}: '{column}' is missing. Every pair needs an infrared and a visible picture.")
    picture = files.find(value)
    if picture is None:
        raise PairingError(
            f"{where}: the {column} picture '{printable(value)}' is not under '{files.root}'. Paths in a list are "
            f"relative to `root`, or absolute."
        )
    if picture.path.suffix.lower() not in IMAGE_SUFFIXES:
        raise PairingError(f"{where}: '{printable(value)}' is no picture (known endings: {' '.join(IMAGE_SUFFIXES)}).")
    return picture


def _keyed(records: Sequence[PairRecord]) -> list[PairRecord]:
    """The pairs with their names, and with keys that leave out the folders that all pairs share."""
    shared = 0
    for folders in zip(*(record.key[:-1] for record in records), strict=False):
        if len(set(folders)) > 1:
            break
        shared += 1
    keys = [record.key[shared:] for record in records]
    stems = [key[-1:] for key in keys]
    unique = len({stem[0].casefold() for stem in stems}) == len(stems)
    names = pair_names(stems if unique else keys)
    return [
        replace(record, name=record.name or name, key=key)
        for record, name, key in zip(records, names, keys, strict=True)
    ]
