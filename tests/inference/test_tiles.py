"""Pictures fused in tiles, against the same pictures fused whole."""

import pytest
import torch
from torch import Tensor

import ivif
from ivif.lightning_modules import tiles
from ivif.lightning_modules.base import FusionTask

ONE_LEVEL = 1 / 255


def _pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(1, 1, height, width), torch.rand(1, 3, height, width)


@pytest.mark.parametrize("name", ["mgfusion-light", "text-to-pixels-light", "promptfusion-light"])
def test_a_picture_in_tiles_is_the_whole_picture(name: str) -> None:
    pair = _pair(90, 130)
    whole = ivif.load(name, "cpu").fuse_tensors(*pair)
    tiled = ivif.load(name, "cpu", tile=32).fuse_tensors(*pair)
    assert 0 < (tiled - whole).abs().max() < 1e-5  # not 0: sums are in another order


def test_auto_takes_tiles_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    fuser, pair = ivif.load("mgfusion-light", "cpu", tile="auto"), _pair(90, 600)
    monkeypatch.setattr(FusionTask, "estimate_memory", lambda _, size, **__: size[1] * size[2])
    for free, side in ((5_010_000, None), (4_990_000, 1536), (2_000_000, 768), (1000, 256)):
        monkeypatch.setattr(tiles, "free_memory", lambda _, free=free: free)
        assert fuser.task.tile_side(1, 2000, 2000) == side
        fuser.task._sides = None
    whole = ivif.load("mgfusion-light", "cpu").fuse_tensors(*pair)
    tiled = fuser.fuse_tensors(*pair)
    assert 0 < (tiled - whole).abs().max() < 1e-5


@pytest.mark.slow  # imagines the network, which takes seconds
def test_auto_asks_for_what_the_network_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ivif.load("mgfusion-light", "cpu", tile="auto").task
    needed = task.estimate_memory((1, 480, 640), training=False)
    assert needed is not None
    assert 50 * 2**20 < needed < 500 * 2**20
    monkeypatch.setattr(tiles, "free_memory", lambda _: 0.5 * needed)
    assert task.tile_side(1, 480, 640) == 256


def test_a_tile_has_pixels() -> None:
    with pytest.raises(ValueError, match="tile is 0"):
        ivif.load("mgfusion-light", "cpu", tile=0)
