"""Packed datasets of strangers: nothing outside of the pack is read, whatever the table says, and damage is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.packed.table import PackError
from ivif.datamodules.folder import FolderDataModule
from ivif.files.errors import UnreadableFileError
from ivif.files.packed import PackedFile
from tests.fakes import write_folder
from tests.hostile.test_every_byte import unnoticed
from tests.packs import packed, plain
from tests.refusals import refusal


@pytest.fixture
def pack(place: Path) -> Path:
    return packed(FolderDataModule(root=write_folder(place / "files", 1, size=(6, 8))), place / "shards")


def read(pack: Path) -> Any:
    return plain(dict(FolderDataset(pack)[0]))


@pytest.mark.slow
def test_every_byte_of_a_table_counts(pack: Path) -> None:
    assert unnoticed(pack / "packed.jsonl", lambda: read(pack), PackError) == set()


@pytest.mark.slow
def test_every_byte_of_a_shard_that_is_read_counts(pack: Path) -> None:
    record = FolderDataset(pack).records[0]
    passed = unnoticed(pack / "chunk-0-0.bin", lambda: read(pack), UnreadableFileError)
    for path in (record.infrared, record.visible):
        assert isinstance(path, PackedFile)
        assert passed.isdisjoint(range(path.place.offset, path.place.offset + path.place.size))


def test_no_byte_of_an_index_changes_what_is_read(pack: Path) -> None:
    assert unnoticed(pack / "index.json", lambda: read(pack), PackError)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (0, "format", 2),
        (0, "dataset", "../../x"),
        (0, "shards", [["../chunk-0-0.bin", 10, 1]]),
        (0, "shards", [["chunk-0-0.bin", True, 1]]),
        (0, "files", 1),
        (0, "pairs", -1),
        (1, "file", "/etc/passwd"),
        (1, "file", "../x.png"),
        (1, "file", "a//b.png"),
        (1, "file", "\ud800.png"),
        (1, "at", [0, 10**9, 5]),
        (1, "at", [0, -5, 5]),
        (1, "at", [7, 0, 5]),
        (1, "at", [-2, 0, 5]),
        (1, "digest", "00"),
        (1, "picture", [0, 8, False]),
        (1, "picture", [6, 8, "no"]),
        (1, "picture", None),
        (3, "name", "../x"),
        (3, "name", ".."),
        (3, "name", "n" * 256),
        (3, "name", ["x"]),
        (3, "visible", "vi/none.png"),
        (3, "label", "none.txt"),
        (3, "split", "dev"),
        (3, "splits", ["other"]),
        (3, "origin", "a stranger"),
        (3, "key", "x"),
    ],
)
def test_values_that_cannot_be_are_refused(line: int, key: str, value: Any, pack: Path) -> None:
    path = pack / "packed.jsonl"
    lines = [json.loads(each) for each in path.read_text().splitlines()[1:]]
    assert [next(iter(each)) for each in lines] == ["format", "file", "file", "name"]
    lines[line][key] = value
    body = "".join(f"{json.dumps(each)}\n" for each in lines).encode()
    path.write_bytes(json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
    refusal(lambda: FolderDataset(pack), PackError, "packed.jsonl", "is not what was written")


def test_options_that_cannot_be_are_refused(pack: Path) -> None:
    path = pack / "packed.jsonl"
    lines = [json.loads(each) for each in path.read_text().splitlines()[1:]]
    for options in ({}, {"layout": {"name": "../x"}, "layout_digest": "", "classes": [], "label_classes": []}):
        lines[0]["options"] = options
        body = "".join(f"{json.dumps(each)}\n" for each in lines).encode()
        path.write_bytes(json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
        refusal(lambda: FolderDataset(pack), PackError, str(pack), "the options of its table cannot be")
