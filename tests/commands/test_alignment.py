"""`data check --alignment`: known shifts are told, worst first, and overlays show them."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ivif.commands.cli import main
from ivif.commands.data.alignment import check_alignment
from ivif.commands.data.alignment_sheet import HEADS, PANEL, Overlay, busiest_part, panels
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.registration import warp
from tests.refusals import refused

SIZE = (192, 256)
TO_SCENE = np.array([[1, 0, -8.0], [0, 1, 5], [0, 0, 1]])
"""What lies at (x, y) of a scene lies at (x + 8, y - 5) of the moved picture."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs: as drawn, infrared moved, infrared turned over."""
    root = tmp_path_factory.mktemp("scenes")
    assert main(["data", "scenes", f"--out={root}", "--count=3", "--size=[192,256]", "--seed=3"]) == 0
    for number, path in enumerate(sorted((root / "ir").iterdir())):
        with Image.open(path) as image:
            picture = np.asarray(image)
        changed = (picture, warp(picture, TO_SCENE, SIZE), np.ascontiguousarray(picture[::-1, ::-1]))[number]
        Image.fromarray(changed).save(path)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_known_shifts_are_told_worst_first(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ["data", "check", "--data=folder.yaml", f"--data.root={scenes}", f"--out={out}", "--alignment"]
    assert main(line) == 0
    shown = capsys.readouterr().out
    drawn, moved, turned = sorted(path.stem for path in (scenes / "ir").iterdir())
    rows = rows_of(out / "alignment.csv")
    assert [(row["name"], row["verdict"]) for row in rows] == [(moved, "moved"), (turned, "unsure"), (drawn, "well")]
    first = {key: float(rows[0][key]) for key in ("shift", "right", "down", "turn_degrees", "scale")}
    assert first["right"] == pytest.approx(8, abs=1)
    assert first["down"] == pytest.approx(-5, abs=1)
    assert first["shift"] == pytest.approx(np.hypot(8, 5), abs=1)
    assert abs(first["turn_degrees"]) < 0.5
    assert first["scale"] == pytest.approx(1, abs=0.01)
    assert float(rows[0]["edges_under_estimate"]) > float(rows[0]["edges"]) + 0.1
    assert rows[0]["reason"] == ""
    assert rows[1]["reason"] != ""
    assert float(rows[2]["shift"]) < 1.5
    assert "3 pairs: 1 are shifted and would be warped, 1 lie well, 1 tell nothing that could be believed." in shown
    assert shown.index(f"/{moved} ") < shown.index(f"/{turned} ") < shown.index(f"/{drawn} ")
    with Image.open(out / "alignment.png") as sheet:
        assert sheet.width > len(HEADS) * PANEL[0]
        assert sheet.height > 3 * 192
    assert main([*line, "--alignment_pairs=1"]) == 0  # over a report of its own
    assert len(rows_of(out / "alignment.csv")) == 2  # one of train, one of val and test


def test_a_pair_of_several_stages_is_looked_at_once_and_pairs_need_no_files(scenes: Path, tmp_path: Path) -> None:
    files, generated = FolderDataset(scenes), SyntheticDataset(1, SIZE, seed=3)
    console = Console(file=io.StringIO(), width=200)
    found = check_alignment({"val": [files], "test": [files, generated]}, tmp_path, console=console)
    assert len(found) == 4
    assert {one.dataset for one in found} == {"folder", generated.dataset_name}
    (scenes / "vi" / f"{files.names[0]}.png").rename(tmp_path / "away.png")
    try:
        assert len(check_alignment({"test": [files]}, tmp_path, console=console)) == 2  # the check has told of it
    finally:
        (tmp_path / "away.png").rename(scenes / "vi" / f"{files.names[0]}.png")


def test_one_transform_of_all_pairs_is_recommended(tmp_path: Path) -> None:
    root = tmp_path / "rig"
    assert main(["data", "scenes", f"--out={root}", "--count=6", "--size=[192,256]", "--seed=3"]) == 0
    for path in (root / "ir").iterdir():
        with Image.open(path) as image:
            picture = np.asarray(image)
        Image.fromarray(warp(picture, TO_SCENE, SIZE)).save(path)
    stream = io.StringIO()
    check_alignment({"all": [FolderDataset(root)]}, tmp_path / "out", console=Console(file=stream, width=200))
    assert "data register --rig true, as they tell one transform" in stream.getvalue()


def test_what_cannot_be_done_is_one_line(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["data", "check", "--data=folder.yaml", f"--data.root={scenes}", f"--out={tmp_path}"]
    refused([*line, "--alignment_pairs=3"], capsys, "--alignment_pairs is of --alignment")
    refused([*line, "--alignment", "--alignment_pairs=0"], capsys, "--alignment_pairs 0: give 1 or more")
    (tmp_path / "alignment.csv").write_text("my own", encoding="utf-8")
    refused([*line, "--alignment"], capsys, "alignment.csv' is there, and is no report")
    assert [path.name for path in tmp_path.iterdir()] == ["alignment.csv"]


def test_overlays_are_red_and_cyan_where_edges_differ_and_white_under_the_estimate() -> None:
    visible, infrared = np.zeros((120, 160), np.uint8), np.zeros((60, 80), np.uint16)
    visible[:, 70:] = 200
    infrared[:, 45:] = 9000  # at 90 of the visible picture
    to_infrared = np.array([[0.5, 0, 9.75], [0, 0.5, -0.25], [0, 0, 1]])
    before, after, *parts = panels(Overlay(("", ""), infrared, visible, to_infrared))
    assert before.shape == (240, 320, 3)
    row = before[120].astype(int)
    assert (row[:, 0] - row[:, 1]).argmax() == pytest.approx(180, abs=4)
    assert (row[:, 1] - row[:, 0]).argmax() == pytest.approx(140, abs=4)
    assert after[120, 140].min() > 200
    assert after[120, 180].max() < 30
    assert [part.shape for part in parts] == [(242, 320, 3)] * 2
    assert panels(Overlay(("", ""), infrared, visible, None))[1].tolist() == before.tolist()


def test_the_part_is_where_both_pictures_have_edges() -> None:
    both = np.zeros((90, 120), np.float32)
    both[61:80, 85:110] = 1
    rows, columns = busiest_part(both)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (30, 40)
    assert rows.start <= 61
    assert rows.stop >= 80
    assert columns.start <= 85
    assert columns.stop >= 110
