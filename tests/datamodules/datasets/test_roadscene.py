from pathlib import Path

import pytest

from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.files.errors import DatasetNotFoundError
from tests.fakes import write_roadscene


def test_aligned_and_raw_pairs(tmp_path: Path) -> None:
    root = write_roadscene(tmp_path, size=(40, 48))
    aligned, raw = RoadScene(root), RoadScene(root, aligned=False)
    assert aligned.names == raw.names == ["FLIR_00006", "FLIR_00007", "FLIR_00008", "FLIR_00009"]
    assert aligned[0]["visible"].shape == (3, 40, 48)
    assert raw[0]["visible"].shape == (3, 80, 96)
    assert raw[0]["infrared"].shape == (1, 80, 96)
    assert aligned[0]["content_id"] != raw[0]["content_id"]


def test_raw_infrared_is_never_taken_for_aligned(tmp_path: Path) -> None:
    root = write_roadscene(tmp_path, raw=True)
    (root / "cropinfrared").rename(root / "elsewhere")
    with pytest.raises(DatasetNotFoundError, match="cropinfrared"):
        RoadScene(root)


def test_repackaged_copies_use_ir_and_vi(tmp_path: Path) -> None:
    root = write_roadscene(tmp_path, raw=False)
    (root / "cropinfrared").rename(root / "ir")
    (root / "crop_LR_visible").rename(root / "vi")
    assert len(RoadScene(root)) == 4
