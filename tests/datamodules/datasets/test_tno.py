from pathlib import Path

import torch

from ivif.datamodules.datasets.tno import TNO
from tests.fakes import write_tno


def test_odd_sizes_and_grey_in_three_channels(tmp_path: Path) -> None:
    dataset = TNO(write_tno(tmp_path, size=(33, 51)))
    sample = dataset[0]
    assert sample["infrared"].shape == (1, 33, 51)
    assert torch.equal(sample["visible"][0], sample["visible"][1])
    assert "targets" not in sample
    assert dataset.load_targets(0)["boxes"].shape == (0, 4)


def test_other_spellings(tmp_path: Path) -> None:
    root = write_tno(tmp_path)
    (root / "ir").rename(root / "Infrared")
    (root / "vi").rename(root / "VIS")
    assert TNO(root).names == ["01", "02", "03", "04"]
