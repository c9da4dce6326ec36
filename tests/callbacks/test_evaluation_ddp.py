"""However many processes share them, pairs are scored and fused once, and the tables are those of one process."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ivif.files.table_files import read_table
from ivif.testing.processes import run_python

SCRIPT = Path(__file__).parent / "ddp_evaluation.py"


def _evaluate(folder: Path, devices: int, length: int, kind: str) -> tuple[Path, list[int]]:
    run_python(SCRIPT, folder / str(devices), devices, length, kind)
    written = [int((folder / str(devices) / f"written_by_{rank}").read_text()) for rank in range(devices)]
    return folder / str(devices), written


def _read(folder: Path, table: str) -> pd.DataFrame:
    return read_table(folder / "tables" / table)


@pytest.mark.parametrize(
    ("kind", "length", "written"),
    [
        ("detecting", 5, 5),
        pytest.param("classic", 1, 1, marks=pytest.mark.slow),
        pytest.param("mgfusion", 3, 3, marks=pytest.mark.slow),
        pytest.param("text_to_pixels", 3, 3, marks=pytest.mark.slow),
        pytest.param("promptfusion", 3, 3, marks=pytest.mark.slow),
    ],
)
def test_two_processes_write_the_tables_and_pictures_of_one(
    kind: str, length: int, written: int, tmp_path: Path
) -> None:
    one, alone = _evaluate(tmp_path, 1, length, kind)
    two, shared = _evaluate(tmp_path, 2, length, kind)
    assert (alone, shared) == ([length], [written, written])
    tables = sorted(path.name for path in (one / "tables").glob("*.csv"))
    assert tables == sorted(path.name for path in (two / "tables").glob("*.csv"))
    assert ("detection.csv" in tables) == (kind not in ("classic", "mgfusion"))
    for table in tables:
        pd.testing.assert_frame_equal(_read(one, table), _read(two, table), rtol=1e-6)
    rows = _read(two, "test_per_image.csv")
    assert (rows.groupby("method").size() == length).all()
    if kind == "detecting":
        scores = _read(two, "detection.csv")
        assert scores["images"].max() == length
        assert 0 < scores["AP50_95"].max() < 1
    pictures = sorted(path.name for path in (one / "fused").glob("*.png"))
    assert len(pictures) == length
    assert pictures == sorted(path.name for path in (two / "fused").glob("*.png"))
    for picture in pictures:
        expected, found = (np.asarray(Image.open(folder / "fused" / picture)) for folder in (one, two))
        np.testing.assert_array_equal(expected, found)
