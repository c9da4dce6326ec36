"""Pictures fused in tiles, against the same pictures fused whole."""

from pathlib import Path

import pytest
import torch

import ivif
from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run


def test_a_picture_in_tiles_is_the_whole_picture(tmp_path: Path) -> None:
    assert main(tiny_run("fit", tmp_path, "--trainer.limit_val_batches=0")) == 0
    run = newest_run(tmp_path)
    torch.manual_seed(0)
    infrared, visible = torch.rand(2, 1, 90, 130), torch.rand(2, 3, 90, 130)
    whole = ivif.load(run, "cpu").fuse_tensors(infrared, visible)
    tiled = ivif.load(run, "cpu", tile=32).fuse_tensors(infrared, visible)
    assert (tiled - whole).abs().max() < 1e-5
    with pytest.raises(ValueError, match="tile is 0"):
        ivif.load(run, "cpu", tile=0)
