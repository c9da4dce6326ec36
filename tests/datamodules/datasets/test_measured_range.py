"""`thermal_range auto`: one range for a dataset, measured once, which 8-bit pictures never meet."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ivif.datamodules.configuration import LoadingConfig
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.measured_range import MeasuredRange
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.datamodules.folder import FolderDataModule

COLD, WARM = 20000, 24000


def _write(root: Path, count: int = 20, deep: bool = True) -> Path:
    """Pairs of which each is a little warmer than the one before."""
    for folder in ("ir", "vi"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        level = COLD + (WARM - COLD) * number // (count - 1)
        plane = np.full((16, 16), level, dtype=np.uint16) if deep else np.full((16, 16), number, dtype=np.uint8)
        Image.fromarray(plane).save(root / "ir" / f"{number:02d}.png")
        Image.fromarray(np.full((16, 16, 3), number, dtype=np.uint8)).save(root / "vi" / f"{number:02d}.png")
    return root


def test_a_dataset_has_one_range_which_orders_its_pictures(tmp_path: Path) -> None:
    dataset = FolderDataset(_write(tmp_path))
    levels = [float(dataset[index]["infrared"].mean()) for index in range(20)]
    assert levels == sorted(set(levels))  # each picture alone would be all black
    assert (levels[0], levels[-1]) == (0, 1)
    assert dataset.thermal_range == ThermalRange("fixed", COLD, WARM)
    low, high = np.percentile(np.linspace(COLD, WARM, 20), (10, 90))
    clipped = FolderDataset(tmp_path, reading=ReadingConfig(ThermalRange("auto", 10, 90))).thermal_range.limits
    np.testing.assert_allclose(clipped, (low, high), rtol=1e-3)


def test_parts_and_stages_of_a_dataset_share_it(tmp_path: Path) -> None:
    data = FolderDataModule(root=_write(tmp_path), loading=LoadingConfig(num_workers=0))
    data.setup("fit")
    ranges = {reader.thermal_range for stage in ("train", "val", "test") for reader in data.stage_readers(stage)}  # type: ignore[attr-defined]
    assert ranges == {ThermalRange("fixed", COLD, WARM)}
    assert FolderDataset(tmp_path).select(["00", "01"]).thermal_range == ThermalRange("fixed", COLD, WARM)


def test_eight_bits_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FolderDataset(_write(tmp_path, deep=False))
    monkeypatch.setattr(MeasuredRange, "get", lambda _: pytest.fail("it was measured"))
    assert torch.equal(dataset[5]["infrared"], torch.full((1, 16, 16), 5, dtype=torch.uint8))


def test_what_is_scaled_already_stays() -> None:
    scaled = np.array([[0.2, 0.4]], dtype=np.float32)
    assert ThermalRange().measured([scaled]) == ThermalRange("type")
    assert np.array_equal(ThermalRange().apply(scaled), scaled)
    celsius = np.array([[10.0, 30.0]], dtype=np.float32)
    assert ThermalRange().apply(celsius).max() == 1
    assert ThermalRange().measured([np.full((4, 4), 7, dtype=np.uint16)]) == ThermalRange("fixed", 7, 8)
    assert ThermalRange().measured([np.zeros((4, 4), dtype=np.uint8)]) == ThermalRange("type")
