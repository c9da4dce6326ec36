"""A map that tiles fill and read, in memory and in a file."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
import torch

from ivif.files.errors import UserError
from ivif.models.layers import gathered_map
from ivif.models.layers.gathered_map import GatheredMap
from tests.refusals import refusal

PLACES = pytest.mark.parametrize("in_memory", [2**20, 0], ids=["memory", "file"])


@PLACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_gives_back_what_it_took(in_memory: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_map, "IN_MEMORY", in_memory)
    whole = torch.rand(2, 3, 7, 9).to(dtype)
    kept = GatheredMap(whole[..., :4, :5], 7, 9)
    for rows in (slice(0, 4), slice(4, 7)):
        for columns in (slice(0, 5), slice(5, 9)):
            kept.put(rows, columns, whole[..., rows, columns])
    lines, places = torch.tensor([6, 0, 0, 3]), torch.tensor([8, 1, 1, 2, 0])
    part = kept.picked(lines, places)
    assert part.dtype == dtype
    assert torch.equal(part, whole[..., lines, :][..., places])


def test_a_large_one_is_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gathered_map, "IN_MEMORY", 4 * 7 * 9)
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("open files are listed on Linux alone")
    kept = GatheredMap(torch.zeros(1, 1, 2, 2), 7, 9)
    assert not _held(tmp_path)
    kept = GatheredMap(torch.zeros(1, 1, 2, 2), 7, 10)
    assert _held(tmp_path) == [4 * 7 * 10]
    assert not list(tmp_path.iterdir())
    del kept
    assert not _held(tmp_path)


def _held(folder: Path) -> list[int]:
    """Sizes of the files below a folder that this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link.stat().st_size for link in links if link.readlink().is_relative_to(folder)]


def test_no_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gathered_map, "IN_MEMORY", 0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    refusal(lambda: GatheredMap(torch.zeros(2, 1, 1, 1), 2**14, 2**15), UserError, "4.0 GiB", str(tmp_path), "TMPDIR")
