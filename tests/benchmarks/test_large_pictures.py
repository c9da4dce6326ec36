"""The benchmark of large pictures at a small size: it fuses what it writes, and says what that took."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from benchmarks import large_pictures


def test_the_pair_differs_from_tile_to_tile(tmp_path: Path) -> None:
    infrared, visible = (tifffile.imread(path) for path in large_pictures.write_pair(600, tmp_path))
    assert infrared.shape == (600, 600)
    assert infrared.dtype == np.uint16
    assert visible.shape == (600, 600, 3)
    assert np.array_equal(visible[..., 0].astype(np.uint16) * 257, infrared)
    assert (visible[512:, :88] != visible[:88, :88]).all()


@pytest.mark.slow
def test_the_script_writes_its_table(tmp_path: Path) -> None:
    large_pictures.main(["--side=600", "--tile=256", "--threads=1", f"--output={tmp_path}"])
    row = pd.read_csv(tmp_path / "large_pictures.csv").iloc[0]
    assert (row["pixels"], row["tile"], row["variant"]) == ("600x600", 256, "test size")
    assert 0.2 < row["peak GiB"] < 3
    assert row["seconds"] > 0
