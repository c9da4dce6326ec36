"""`data pack`: where it writes, what it refuses, what is left of a call that was stopped, and object stores."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ivif.commands.cli import main
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.packed.table import PackError
from ivif.datamodules.datasets.reading_config import ReadingConfig, ShardCache
from ivif.datamodules.folder import FolderDataModule
from ivif.files.errors import DatasetNotFoundError, UnreadableFileError
from ivif.files.object_store import Address, ObjectStore, StoreError, address_of
from ivif.testing.processes import run_python
from tests.disks import full_disk
from tests.fakes import write_folder
from tests.inputs import brings
from tests.object_store import BUCKET, Store, storing
from tests.packs import SHARD, packed, plain, same_stages
from tests.refusals import accepted, refusal, refused, whole

PLACE = f"s3://{BUCKET}/sets/mine"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "files", 4)


@pytest.fixture
def store() -> Iterator[Store]:
    with storing() as made:
        yield made


def command(root: Path | str, out: Path | str, *options: str) -> list[str]:
    return ["data", "pack", "--data=folder.yaml", f"--data.root={root}", f"--out={out}", *options]


def reading(tmp_path: Path, gigabytes: float = 1.0) -> ReadingConfig:
    return ReadingConfig(shards=ShardCache(tmp_path / "kept", gigabytes))


def test_the_command_packs_and_the_next_one_finds_it_done(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    small = f"--shard_megabytes={SHARD}"
    said = accepted(command(files, out, small), capsys)
    assert f"4 pairs in 4 shards of 0.0 MB in all, in {out}." in said
    assert f"--data.root {out}" in said
    assert {path.name for path in out.iterdir()} == {
        "index.json",
        "packed.jsonl",
        *(f"chunk-0-{n}.bin" for n in range(4)),
    }
    before = whole(out)
    assert "4 pairs are in" in accepted(command(files, out, small), capsys)
    assert whole(out) == before
    shutil.copy(files / "vi" / "000.png", files / "vi" / "001.png")
    refused(command(files, out, small), capsys, str(out), "holds a finished pack of 4 pairs", "Choose another place")
    assert whole(out) == before


def test_the_check_of_a_dataset_reads_a_pack(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = packed(FolderDataModule(root=files), tmp_path / "shards")
    line = ["data", "check", "--data=folder.yaml", f"--data.root={out}", f"--out={tmp_path / 'report'}"]
    assert "40x48" in accepted(line, capsys).replace("48x40", "40x48")


def test_places_that_hold_something_else_are_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    refused(command(files, tmp_path / "notes"), capsys, "holds other files", "Choose an empty folder")
    refused(command(files, tmp_path / "notes" / "mine.txt"), capsys, "is no folder")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "chunk-0-0.bin").write_text("of another program")
    (tmp_path / "others" / "index.json").write_text("{}")
    before = whole(tmp_path / "others")
    refused(command(files, tmp_path / "others"), capsys, "shards of litdata without 'packed.jsonl'")
    assert whole(tmp_path / "others") == before
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "chunk-0-0.bin").write_text("of another program")
    refused(command(files, tmp_path / "more"), capsys, "holds other files")


def test_what_cannot_be_packed_is_refused(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    refused(command(files, out, "--shard_megabytes=0"), capsys, "--shard_megabytes is 0")
    refused(["data", "pack", "--data=synthetic.yaml", f"--out={out}"], capsys, "takes one dataset of files")
    (files / "vi" / "002.png").write_bytes(b"no picture")
    refused(command(files, out), capsys, "vi/002.png", "no image of a known format")
    assert not out.exists()
    shutil.copy(files / "vi" / "001.png", files / "vi" / "002.png")
    packed(FolderDataModule(root=files), out)
    refused(command(out, tmp_path / "again"), capsys, "is packed already")


@brings("options", "`data pack` onto a disk that is full", "refused", "nothing stays there; the line says to make room")
def test_a_full_disk_leaves_nothing(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        refused(
            command(files, tmp_path / "shards"),
            capsys,
            "No space left on device",
            "Make room",
            "give the command again",
        )
        assert not (tmp_path / "shards").exists()
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        refused(command(files, tmp_path / "shards"), capsys, "and 0 MB are free", "Make room")
    assert accepted(command(files, tmp_path / "shards"), capsys)


def test_a_pack_that_another_process_writes_is_left_alone(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    (out / ".packing").mkdir(parents=True)
    (out / ".packing" / ".lock").write_text('{"host": "elsewhere", "pid": 1}')
    refused(command(files, out), capsys, "is in use by process 1 on elsewhere")


def test_killed_calls_are_never_taken_for_finished_ones(files: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "kill_packing.py"
    lines = run_python(script, files, tmp_path / "out", timeout=300).split()
    assert lines.count("unfinished") >= 8
    assert lines[-1] == "finished"


def test_another_form_of_litdata_is_noticed(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from litdata.streaming.writer import BinaryWriter

    serialize = BinaryWriter.serialize
    monkeypatch.setattr(BinaryWriter, "serialize", lambda self, item: (serialize(self, item)[0] + b"x", None))
    with pytest.raises(RuntimeError, match="a form that is not known"):
        packed(FolderDataModule(root=files), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_missing_library_is_named(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivif.files import libraries
    from ivif.files.libraries import MissingLibraryError

    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    data = FolderDataModule(root=files)
    for out in (str(tmp_path / "shards"), PLACE):
        refusal(partial(packed, data, out), MissingLibraryError, "pip install 'ivif-lightning[streaming]'")


def test_addresses() -> None:
    assert address_of("s3://bucket/a/b/") == address_of(Path("s3://bucket/a/b")) == Address("bucket", "a/b")
    assert str(address_of(Path("s3://bucket"))) == "s3://bucket"
    assert address_of("/data/s3") is None
    assert address_of(Path("data/s3:/x")) is None


def test_an_object_store_is_written_and_read_like_a_folder(store: Store, files: Path, tmp_path: Path) -> None:
    data = FolderDataModule(root=files)
    packed(data, PLACE)
    local = packed(data, tmp_path / "shards")
    assert {key.removeprefix("sets/mine/"): content for key, content in store.objects.items()} == {
        path.name: path.read_bytes() for path in local.iterdir()
    }
    assert [key for method, key, _ in store.asked if method == "PUT"][-1] == "sets/mine/index.json"
    same_stages(data, FolderDataModule(root=Path(PLACE), reading=reading(tmp_path)))
    assert store.count("GET", ".bin") == 4  # each shard once, for all stages
    same_stages(data, FolderDataModule(root=Path(PLACE), reading=reading(tmp_path)))
    assert store.count("GET", ".bin") == 4  # and never again


@pytest.mark.parametrize("kept", [0, 2])
def test_shards_beyond_the_limit_are_read_picture_by_picture(
    kept: int, store: Store, files: Path, tmp_path: Path
) -> None:
    data = FolderDataModule(root=files)
    packed(data, PLACE)
    sizes = [len(store.objects[f"sets/mine/chunk-0-{number}.bin"]) for number in range(4)]
    shards = FolderDataModule(root=Path(PLACE), reading=reading(tmp_path, (sum(sizes[:kept]) + 10) / 1e9))
    same_stages(data, shards)
    assert {path.name for path in (tmp_path / "kept").rglob("*.bin")} == {f"chunk-0-{n}.bin" for n in range(kept)}
    whole_ones = [key for method, key, part in store.asked if method == "GET" and key.endswith(".bin") and not part]
    assert sorted(whole_ones) == [f"sets/mine/chunk-0-{number}.bin" for number in range(kept)]


def test_loader_processes_fetch_a_shard_once(store: Store, files: Path, tmp_path: Path) -> None:
    from ivif.datamodules.configuration import LoadingConfig, TransformConfig

    loading = LoadingConfig(batch_size=1, num_workers=2, seed=1)
    drawn = []
    packed(FolderDataModule(root=files), PLACE)
    for root in (files, Path(PLACE)):
        module = FolderDataModule(
            root=root,
            loading=loading,
            transforms=TransformConfig(crop=16),
            reading=reading(tmp_path),
            train_fraction=1.0,
        )
        drawn.append([plain(batch) for batch in module.train_dataloader()])
    assert drawn[0] == drawn[1]
    assert store.count("GET", ".bin") == 4


def test_transfers_that_break_are_taken_up(store: Store, files: Path, tmp_path: Path) -> None:
    data = FolderDataModule(root=files)
    packed(data, PLACE)
    reader = FolderDataset(Path(PLACE), reading=reading(tmp_path))
    store.break_after = [100, 200]
    assert plain(dict(reader[0])) == plain(dict(FolderDataset(files)[0]))
    parts = [part for method, key, part in store.asked if method == "GET" and key.endswith("0-0.bin")]
    assert parts == ["", "bytes=100-", "bytes=300-"]


def test_a_copy_that_was_damaged_is_fetched_again(store: Store, files: Path, tmp_path: Path) -> None:
    packed(FolderDataModule(root=files), PLACE)
    reader = FolderDataset(Path(PLACE), reading=reading(tmp_path))
    first = plain(dict(reader[2]))
    (kept,) = (tmp_path / "kept").rglob("chunk-0-2.bin")
    kept.write_bytes(bytes(kept.stat().st_size))
    assert plain(dict(FolderDataset(Path(PLACE), reading=reading(tmp_path))[2])) == first
    damaged = bytearray(store.objects["sets/mine/chunk-0-2.bin"])
    damaged[-30] ^= 1
    store.objects["sets/mine/chunk-0-2.bin"] = bytes(damaged)
    kept.unlink()
    reader = FolderDataset(Path(PLACE), reading=reading(tmp_path))
    refusal(lambda: reader[2], UnreadableFileError, f"{PLACE}/chunk-0-2.bin", "002.png", "not what was packed")


def test_a_call_that_was_stopped_goes_on_where_it_was(
    store: Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = f"--shard_megabytes={SHARD}"
    store.fail_after = 2
    refused(
        command(files, PLACE, small),
        capsys,
        "Cannot write 's3://fusion/sets/mine/chunk-0-2.bin'",
        "InsufficientStorage",
    )
    assert sorted(store.objects) == [f"sets/mine/chunk-0-{number}.bin" for number in range(2)]
    read = ["data", "check", "--data=folder.yaml", f"--data.root={PLACE}", f"--out={tmp_path / 'report'}"]
    refused(read, capsys, PLACE, "not finished", "once more")
    store.fail_after, before = None, store.count("PUT")
    assert "2 of them there already" in accepted(command(files, PLACE, small), capsys)
    assert store.count("PUT") - before == 4  # two shards, the table, the index
    same_stages(FolderDataModule(root=files), FolderDataModule(root=Path(PLACE), reading=reading(tmp_path)))
    assert "are in s3://fusion/sets/mine already" in accepted(command(files, PLACE, small), capsys)
    store.objects["sets/mine/notes.txt"] = b"mine"
    refused(command(files, PLACE, small), capsys, "holds other objects, such as 'notes.txt'")


def test_missing_shards_of_a_store_are_named_at_once(store: Store, files: Path, tmp_path: Path) -> None:
    packed(FolderDataModule(root=files), PLACE)
    content = store.objects.pop("sets/mine/chunk-0-1.bin")

    def read() -> FolderDataset:
        return FolderDataset(Path(PLACE), reading=reading(tmp_path))

    refusal(read, StoreError, f"{PLACE}/chunk-0-1.bin", "is missing")
    store.objects["sets/mine/chunk-0-1.bin"] = content[:-1]
    refusal(read, StoreError, f"{len(content) - 1} bytes, not {len(content)}")
    store.objects["sets/mine/chunk-0-1.bin"] = content
    reader = read()
    del store.objects["sets/mine/chunk-0-1.bin"]  # lost during a run
    refusal(lambda: reader[1], StoreError, f"{PLACE}/chunk-0-1.bin", "it is not there")
    del store.objects["sets/mine/index.json"]
    refusal(read, PackError, PLACE, "not finished")
    store.objects.clear()
    refusal(read, DatasetNotFoundError, "index.json", "Check the bucket and the prefix")


@brings("options", "an object store with wrong keys, without the bucket, or that does not answer", "refused",
        "one line with the address and what to check")  # fmt: skip
def test_what_a_store_refuses_is_one_clear_line(
    store: Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(
        command(files, "s3://none/x"), capsys, "there is no bucket 'none' (NoSuchBucket)", "AWS_ENDPOINT_URL"
    )
    assert "secret-of-the-tests" not in said
    refused(command(files, "s3://Not_A Bucket!/x"), capsys, "Check the name of the bucket")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
        said = refused(command(files, PLACE), capsys, "the store refuses it (InvalidAccessKeyId)", "AWS_ACCESS_KEY_ID")
        assert "somebody else" not in said
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        refused(command(files, PLACE), capsys, "no usable keys were found", "AWS_PROFILE")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:pass@127.0.0.1:{closed.getsockname()[1]}")
        said = refused(command(files, PLACE), capsys, "the store does not answer", "Check the address http://127.0.0.1")
        assert "pass" not in said


def test_a_full_disk_for_fetched_shards_is_told(
    store: Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(FolderDataModule(root=files), PLACE)
    reader = FolderDataset(Path(PLACE), reading=reading(tmp_path))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "copy_to", full)
        refusal(lambda: reader[0], StoreError, "No space left on device", "`reading.shards.folder`", "gigabytes")
    assert not list((tmp_path / "kept").rglob("*.bin"))
    assert reader[0]["name"] == "000"


def test_a_limit_below_nothing_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["data", "check", "--data=folder.yaml", f"--data.root={files}", "--data.reading.shards.gigabytes=-1"]
    assert main(line) != 0
    assert "gigabytes" in capsys.readouterr().err
