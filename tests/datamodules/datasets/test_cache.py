"""Cached pairs are the reader's pairs, from memory and from disk, and a cache that does not fit is built anew."""

import errno
import logging
import os
import pickle
import shutil
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ivif.contracts.batch import Sample, collate
from ivif.datamodules.datasets import cache as cache_module
from ivif.datamodules.datasets import cache_buffer
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.cache import CachedDataset, cached
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.prompts import PromptConfig, PromptedDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.errors import CacheError, SplitError, UnreadableFileError
from tests.fakes import Faults, write_m3fd, write_msrs

Mode = Literal["ram", "disk"]
MODES: tuple[Mode, ...] = ("ram", "disk")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MSRS pairs of several sizes."""
    write_msrs(tmp_path / "msrs", count=4)
    for kind, shape in (("vi", (33, 50, 3)), ("ir", (33, 50))):
        image = Image.fromarray(np.random.default_rng(5).integers(0, 255, shape, dtype=np.uint8))
        image.save(sorted((tmp_path / "msrs" / "train" / kind).iterdir())[1])
    return tmp_path / "msrs"


def _folder(root: Path) -> Path:
    return root.parent / "cache"


def _file(root: Path) -> Path:
    (file,) = _folder(root).glob("*.planes")
    return file


def assert_same(own: Sample, read: Sample) -> None:
    """Every field of two samples is equal, in type as well, and in the same order."""
    expected: dict[str, Any] = dict(read)
    assert set(own) == set(expected)
    for key, value in own.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == expected[key].dtype
            assert torch.equal(value, expected[key])
        elif key == "targets":
            assert torch.equal(own["targets"]["boxes"], expected[key]["boxes"])
            assert torch.equal(own["targets"]["labels"], expected[key]["labels"])
        else:
            assert value == expected[key]


@pytest.mark.parametrize("mode", MODES)
def test_samples_are_the_readers(mode: Mode, root: Path) -> None:
    reader = MSRS(root, "train")
    cache = CachedDataset(reader, mode, _folder(root))
    again = CachedDataset(reader, mode, _folder(root))
    assert (cache.names, len(cache), cache.classes, cache.has_labels) == (reader.names, 4, reader.classes, True)
    assert cache.pairing == reader.pairing
    assert sum(len(cache[index]["targets"]["boxes"]) for index in range(4)) == 4
    for index in range(4):
        assert_same(cache[index], reader[index])
        assert_same(cache[index], reader[index])
        assert_same(again[index], reader[index])
        assert cache.image_size(index) == reader.image_size(index)
        assert torch.equal(cache.load_targets(index)["boxes"], reader.load_targets(index)["boxes"])
    assert [cache.image_size(index) for index in range(2)] == [(40, 48), (33, 50)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("faults", [Faults(thermal_16_bit=True), Faults(grey_visible=True), Faults(infrared_scale=0.5)])
def test_unusual_files_are_the_readers_too(mode: Mode, faults: Faults, tmp_path: Path) -> None:
    reader = M3FD(write_m3fd(tmp_path / "m3fd", faults=faults))
    cache = CachedDataset(reader, mode, tmp_path)
    assert (cache[0]["infrared"].dtype == torch.float32) == faults.thermal_16_bit
    for index in range(len(reader)):
        assert_same(cache[index], reader[index])


@pytest.mark.parametrize("mode", MODES)
def test_generated_scenes(mode: Mode, tmp_path: Path) -> None:
    reader = SyntheticDataset(5, (40, 56), seed=3)
    cache = CachedDataset(reader, mode, tmp_path)
    assert_same(cache[4], reader[4])
    other = CachedDataset(SyntheticDataset(5, (40, 56), seed=4), mode, tmp_path)
    assert not torch.equal(other[4]["infrared"], cache[4]["infrared"])


@pytest.mark.parametrize("mode", MODES)
def test_samples_are_views(mode: Mode, root: Path) -> None:
    cache = CachedDataset(MSRS(root, "train"), mode, _folder(root))
    first, second = cache[0], cache[0]
    assert first["visible"].data_ptr() == second["visible"].data_ptr()
    assert first["visible"].stride() == (40 * 48, 48, 1)
    assert first["infrared"].untyped_storage().data_ptr() == cache[3]["visible"].untyped_storage().data_ptr()


@pytest.mark.parametrize("mode", MODES)
def test_a_selection_shares_the_planes(mode: Mode, root: Path) -> None:
    reader = MSRS(root, "train")
    cache = CachedDataset(reader, mode, _folder(root))
    names = [reader.names[3], reader.names[1]]
    subset = cache.select(names)
    assert subset.names == names
    assert_same(subset[1], reader[1])
    assert_same(subset.select(names[:1])[0], reader[3])
    assert subset[1]["visible"].data_ptr() == cache[1]["visible"].data_ptr()
    with pytest.raises(SplitError, match="nobody"):
        cache.select(["nobody"])


@pytest.mark.parametrize(("mode", "context"), [("ram", "fork"), ("disk", "fork"), ("ram", "spawn")])
def test_workers_get_the_same(mode: Mode, context: str, root: Path) -> None:
    reader = MSRS(root, "train").select(["00001D", "00003D", "00004D"])
    cache = CachedDataset(reader, mode, _folder(root))
    loader = DataLoader(
        cache, batch_size=3, num_workers=1, collate_fn=collate, multiprocessing_context=get_context(context)
    )
    (batch,) = loader
    assert torch.equal(batch["visible"], torch.stack([reader[index]["visible"] for index in range(3)]))
    assert batch["content_id"] == [reader[index]["content_id"] for index in range(3)]


def test_a_copy_maps_the_file_itself(root: Path) -> None:
    cache = CachedDataset(MSRS(root, "train"), "disk", _folder(root))
    dumped = pickle.dumps(cache)
    assert len(dumped) < _file(root).stat().st_size
    assert_same(pickle.loads(dumped)[2], cache[2])


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    original = PairedDataset.__getitem__

    def counted(self: PairedDataset, index: int) -> Sample:
        reads.append(index)
        return original(self, index)

    monkeypatch.setattr(PairedDataset, "__getitem__", counted)
    return reads


def test_a_file_is_built_once_for_a_selection(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _count_reads(monkeypatch)
    reader = MSRS(root, "train")
    for _ in range(2):
        [CachedDataset(reader, "disk", _folder(root))[index] for index in range(4)]
    assert sorted(reads) == [0, 1, 2, 3]
    CachedDataset(reader.select(reader.names[:2]), "disk", _folder(root))
    assert len(list(_folder(root).glob("*.planes"))) == 2
    assert not list(_folder(root).glob("*.partial"))


def test_another_thermal_range_is_another_content(tmp_path: Path) -> None:
    write_m3fd(tmp_path / "m3fd", faults=Faults(thermal_16_bit=True))
    for thermal_range in (ThermalRange("minmax"), ThermalRange("fixed", 0, 60000)):
        reader = M3FD(tmp_path / "m3fd", reading=ReadingConfig(thermal_range=thermal_range))
        assert_same(CachedDataset(reader, "disk", tmp_path)[0], reader[0])


def test_a_changed_image_is_decoded_again(root: Path) -> None:
    reader = MSRS(root, "train")
    before = CachedDataset(reader, "disk", _folder(root))[0]
    path = reader.records[0].infrared
    Image.fromarray(np.full((40, 48), 7, dtype=np.uint8)).save(path)
    os.utime(path, ns=(1, 1))
    after = CachedDataset(reader, "disk", _folder(root))[0]
    assert set(after["infrared"].flatten().tolist()) == {7}
    assert after["content_id"] != before["content_id"]


def test_a_range_of_its_own_does_not_take_another_ones_file_away(tmp_path: Path) -> None:
    write_m3fd(tmp_path / "m3fd", faults=Faults(thermal_16_bit=True))
    for thermal_range in (ThermalRange("minmax"), ThermalRange("percentile", 2, 98), ThermalRange("percentile", 3, 98)):
        CachedDataset(M3FD(tmp_path / "m3fd", reading=ReadingConfig(thermal_range)), "disk", tmp_path)
    assert len(list(tmp_path.glob("*.planes"))) == 3


@pytest.mark.parametrize("version", ["PIL.__version__", "torch.__version__"])
def test_other_versions_of_what_decodes_are_another_content(
    version: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, reader = _count_reads(monkeypatch), MSRS(root, "train")
    CachedDataset(reader, "disk", _folder(root))
    monkeypatch.setattr(version, "0.0.1")
    CachedDataset(reader, "disk", _folder(root))
    assert sorted(reads) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    "change", [{"size": (40, 64)}, {"seed": 1}, {"split": "val"}, {"times": ("night", "day")}, {"length": 3}], ids=str
)
def test_each_option_of_generated_scenes_is_another_content(change: dict[str, Any], tmp_path: Path) -> None:
    options: dict[str, Any] = {"length": 2, "size": (32, 64)}
    CachedDataset(SyntheticDataset(**options), "disk", tmp_path)
    other = SyntheticDataset(**(options | change))
    cache = CachedDataset(other, "disk", tmp_path)
    assert cache.names == other.names
    for index in range(len(other)):
        assert_same(cache[index], other[index])
    assert_same(CachedDataset(SyntheticDataset(**options), "disk", tmp_path)[0], SyntheticDataset(**options)[0])


def test_another_renderer_is_another_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = CachedDataset(SyntheticDataset(1, (32, 64)), "disk", tmp_path)[0]
    monkeypatch.setattr("ivif.datamodules.datasets.synthetic.RENDERER_VERSION", "other")
    after, reader = CachedDataset(SyntheticDataset(1, (32, 64)), "disk", tmp_path)[0], SyntheticDataset(1, (32, 64))
    assert_same(after, reader[0])
    assert not torch.equal(after["infrared"], before["infrared"])


def _grow(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _touch(path: Path) -> None:
    os.utime(path, ns=(5, 5))


def _move(path: Path) -> None:
    path.rename(path.with_suffix(".PNG"))


@pytest.mark.parametrize("change", [_grow, _touch, _move])
@pytest.mark.parametrize("kind", ["vi", "ir"])
def test_path_size_and_time_of_each_file_count(
    kind: str, change: Callable[[Path], None], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = _count_reads(monkeypatch)
    CachedDataset(MSRS(root, "train"), "disk", _folder(root))
    change(sorted((root / "train" / kind).iterdir())[2])
    CachedDataset(MSRS(root, "train"), "disk", _folder(root))
    assert sorted(reads) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("damage", ["empty", "cut", "no end", "index", "version"])
def test_a_damaged_file_is_built_anew(
    damage: str, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = MSRS(root, "train")
    CachedDataset(reader, "disk", _folder(root))
    file = _file(root)
    data = bytearray(file.read_bytes())
    data[-cache_buffer._FOOTER.size - 1] ^= 1 if damage == "index" else 0
    file.write_bytes(bytes(data[: {"empty": 0, "cut": len(data) // 2, "no end": -3}.get(damage, len(data))]))
    if damage == "version":
        later = cache_buffer.FORMAT_VERSION + 1
        for module in (cache_buffer, cache_module):
            monkeypatch.setattr(module, "FORMAT_VERSION", later)
    caplog.clear()
    assert_same(CachedDataset(reader, "disk", _folder(root))[3], reader[3])
    assert "4 pairs are decoded" in caplog.text


def test_a_pair_with_a_wrong_checksum_is_read_from_its_files(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = MSRS(root, "train")
    CachedDataset(reader, "disk", _folder(root))
    with _file(root).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\x00\xff")
    cache = CachedDataset(reader, "disk", _folder(root))
    assert_same(cache[0], reader[0])
    assert f"damaged (first seen at '{reader.names[0]}')" in caplog.text
    assert_same(cache[1], reader[1])
    assert not list(_folder(root).glob("*.planes"))
    assert_same(CachedDataset(reader, "disk", _folder(root))[0], reader[0])


def test_a_damaged_cache_that_cannot_be_removed_is_said_once(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = MSRS(root, "train")
    CachedDataset(reader, "disk", _folder(root))
    with _file(root).open("r+b") as file:
        file.write(bytes(_file(root).stat().st_size // 2))
    cache = CachedDataset(reader, "disk", _folder(root))
    assert sum(not pair.intact(cache._planes()) for pair in cache._pairs) > 1
    monkeypatch.setattr(Path, "unlink", _read_only)
    for index in range(len(reader)):
        assert_same(cache[index], reader[index])
    assert caplog.text.count("is damaged (first seen at") == 1
    assert "cannot be removed (Read-only file system)" in caplog.text
    assert _file(root).exists()


def _read_only(path: Path, missing_ok: bool = False) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def _open_in_process(root: Path) -> bytes:
    sample = CachedDataset(MSRS(root, "train"), "disk", _folder(root))[3]
    return bytes(sample["visible"].numpy().tobytes())


def test_processes_may_start_together(root: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        results = set(pool.map(_open_in_process, [root] * 6))
    assert results == {MSRS(root, "train")[3]["visible"].contiguous().numpy().tobytes()}
    assert [path.suffix for path in sorted(_folder(root).iterdir())] == [".planes", ".lock"]


def test_leftovers_of_a_killed_process_are_removed(root: Path) -> None:
    reader = MSRS(root, "train")
    CachedDataset(reader, "disk", _folder(root))
    file = _file(root)
    leftover, others = (file.with_name(f".{stem}.planes-{'0' * 16}.partial") for stem in (file.stem, "another"))
    file.rename(leftover)
    others.touch()
    CachedDataset(reader, "disk", _folder(root))
    assert not leftover.exists()
    assert others.exists()


@pytest.fixture
def _no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9000, 8000, 1000))
    monkeypatch.setattr(cache_buffer, "free_memory", lambda _: 1000)


@pytest.mark.usefixtures("_no_space")
@pytest.mark.parametrize(("mode", "remedy"), [("ram", "'disk' or 'none'"), ("disk", "cache_dir")])
def test_too_little_space_is_said_with_both_sizes(mode: Mode, remedy: str, root: Path) -> None:
    with pytest.raises(CacheError, match=rf"need 0\.0 MB .*0\.0 MB.* free.*{remedy}"):
        CachedDataset(MSRS(root, "train"), mode, _folder(root))
    assert [path.suffix for path in root.parent.glob("cache/*")] in ([], [".lock"])


def test_a_folder_that_cannot_be_made_is_named(root: Path) -> None:
    (root.parent / "file").write_text("")
    with pytest.raises(CacheError, match=r"file/cache.*cache_dir"):
        CachedDataset(MSRS(root, "train"), "disk", root.parent / "file" / "cache")


@pytest.mark.parametrize("mode", MODES)
def test_a_broken_image_ends_the_build(mode: Mode, tmp_path: Path) -> None:
    write_msrs(tmp_path / "msrs", faults=Faults(truncated=True))
    with pytest.raises(UnreadableFileError, match=r"00001D\.png"):
        CachedDataset(MSRS(tmp_path / "msrs", "train"), mode, tmp_path / "cache")
    assert [path.suffix for path in tmp_path.glob("cache/*")] in ([], [".lock"])


def test_the_size_is_said_up_front(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        CachedDataset(MSRS(root, "test"), "ram")
    assert "msrs: 4 pairs are decoded into memory: 0.0 MB" in caplog.text
    assert cache_buffer.describe_size(1.26e9) == "1.3 GB"


def test_prompts_stay_on_top(root: Path) -> None:
    reader = MSRS(root, "train")
    prompted = PromptedDataset(reader, PromptConfig(source="fine"))  # type: ignore[arg-type]
    over = cached(prompted, "ram", root)
    assert isinstance(over, PromptedDataset)
    assert isinstance(over.reader, CachedDataset)
    assert_same(over[0], prompted[0])
    assert cached(reader, "none", root) is reader


def test_transforms_are_not_frozen(root: Path) -> None:
    with pytest.raises(ValueError, match="transforms"):
        CachedDataset(MSRS(root, "train", transforms=lambda sample: sample), "ram")


def test_an_empty_selection(root: Path) -> None:
    for mode in MODES:
        assert len(CachedDataset(MSRS(root, "train").select([]), mode, _folder(root))) == 0
