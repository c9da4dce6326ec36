"""`report score` pairs as readers do, and scores what `predict` writes."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.commands.report.scored_files import collect
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.files.table_files import read_table
from tests.fakes import scene
from tests.inputs import brings
from tests.refusals import accepted, refused


def write_pair(infrared: Path, visible: Path, seed: int = 0) -> None:
    """Two pictures of one scene."""
    planes = scene(seed, (24, 26))
    for path, pixels in ((infrared, planes[0]), (visible, planes[1])):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def predicted(root: Path, layout: FolderLayout, out: Path) -> list[str]:
    """What `predict` calls its pictures, written here; the names."""
    dataset = FolderDataset(root, layout=layout)
    out.mkdir(parents=True)
    for record in dataset.records:
        Image.open(record.visible).save(out / f"{record.name}.png")
    return dataset.names


LAYOUTS = {
    "pattern with letters": ("ir/Therm-Scene1.png", "vi/Scene1_cam.png", r"(Scene\d)"),
    "pattern that results do not match": ("ir/T_001.png", "vi/RGB_001.png", r"^(?:T|RGB)_(\d+)"),
    "one folder": ("FLIR_00006_PreviewData.jpeg", "FLIR_00006_RGB.jpg", ""),
    "words": ("ir/0001_ir.png", "vi/0001_vis.png", ""),
    "sequences": ("set00/V000/lwir/I01216.png", "set00/V000/visible/I01216.png", ""),
    "stages": ("train/ir/1.png", "train/vi/1.png", ""),
    "capitals": ("ir/SceneA.png", "vi/scenea.png", ""),
}


@brings("pairs", "what `predict` writes, by any pattern and layout", "works", "`report score` finds its pair again")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_predictions_pair_again_whatever_named_them(tmp_path: Path, kind: str) -> None:
    infrared, visible, pattern = LAYOUTS[kind]
    root = tmp_path / "data"
    write_pair(root / infrared, root / visible)
    (name,) = predicted(root, FolderLayout(pattern=pattern), tmp_path / "out")
    inputs = collect(root, root, [tmp_path / "out"], pattern)
    assert inputs.methods == {"out": {name: tmp_path / "out" / f"{name}.png"}}
    found = {name: (pair.record.infrared, pair.record.visible) for name, pair in inputs.pairs.items()}
    assert found == {name: (root / infrared, root / visible)}
    assert not [line for line in inputs.problems if "left out" in line]


@brings(
    "pairs", "predictions of a sequence or stage, scored with its own folders alone", "works", "by the end of the path"
)
def test_predictions_of_a_tree_pair_with_one_of_its_folders(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for sequence in ("V000", "V001"):
        write_pair(root / sequence / "lwir" / "1.png", root / sequence / "visible" / "1.png")
    assert predicted(root, FolderLayout(), tmp_path / "out") == ["V000_1", "V001_1"]
    inputs = collect(root / "V001" / "lwir", root / "V001" / "visible", [tmp_path / "out"], None)
    assert inputs.methods == {"out": {"1": tmp_path / "out" / "V001_1.png"}}
    write_pair(tmp_path / "x.png", tmp_path / "loose" / "1.png")  # of which of the two?
    assert collect(root, root, [tmp_path / "loose"], None).methods == {"loose": {}}
    assert [line for line in inputs.problems if "V000_1.png" in line]


@brings("pairs", "predictions of before names kept their case", "works", "they pair in any case")
def test_predictions_of_old_names_pair(tmp_path: Path) -> None:
    write_pair(tmp_path / "ir" / "FLIR_1.png", tmp_path / "vi" / "FLIR_1.png")
    write_pair(tmp_path / "out" / "flir_1.png", tmp_path / "other" / "flir_1.png")
    collected = collect(tmp_path / "ir", tmp_path / "vi", [tmp_path / "out"], None)
    assert collected.methods["out"] == {"FLIR_1": tmp_path / "out" / "flir_1.png"}
    shutil.copy(tmp_path / "out" / "flir_1.png", tmp_path / "out" / "FLIR_1.png")
    collected = collect(tmp_path / "ir", tmp_path / "vi", [tmp_path / "out"], None)
    assert collected.methods["out"] == {"FLIR_1": tmp_path / "out" / "FLIR_1.png"}


@brings("pairs", "two files and their fused picture, for `report score`", "works", "one row")
def test_three_files_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path / "hot.png", tmp_path / "seen.png")
    write_pair(tmp_path / "x.png", tmp_path / "result.png")
    options = [f"--infrared={tmp_path / 'hot.png'}", f"--visible={tmp_path / 'seen.png'}"]
    options += [f"--fused={tmp_path / 'result.png'}", "--metrics=EN", "--classic=false", f"--out={tmp_path / 'tables'}"]
    accepted(["report", "score", *options], capsys)
    assert list(read_table(tmp_path / "tables" / "per_image.csv")["name"]) == ["seen"]


@brings(
    "pairs", "infrared of another size than visible, for `report score`", "reported", "resized as readers resize it"
)
def test_infrared_of_another_size_is_scored_as_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path / "ir" / "1.png", tmp_path / "vi" / "1.png")
    small = np.asarray(Image.open(tmp_path / "ir" / "1.png"))[::2, ::2]
    Image.fromarray(small).save(tmp_path / "ir" / "1.png")
    read = FolderDataset(tmp_path)[0]["infrared"]
    (tmp_path / "same").mkdir()
    Image.fromarray(read[0].numpy()).save(tmp_path / "same" / "1.png")
    values = []
    for folder in ("ir", "same"):
        sources = [f"--infrared={tmp_path / folder}", f"--visible={tmp_path / 'vi'}", f"--fused={tmp_path / 'vi'}"]
        out = f"--out={tmp_path / f'of-{folder}'}"
        printed = accepted(["report", "score", *sources, "--metrics=MI", "--classic=false", out], capsys)
        assert ("13x12" in printed) == (folder == "ir")
        values += list(read_table(tmp_path / f"of-{folder}" / "per_image.csv")["value"])
    assert values[0] == values[1]


def _sources(root: Path, names: tuple[str, str], fused: str) -> list[str]:
    for number in (1, 2):
        write_pair(root / "ir" / names[0].format(number), root / "vi" / names[1].format(number), number)
        write_pair(root / "unused.png", root / "fused" / fused.format(number), number)
    places = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'fused'}"]
    return ["report", "score", *places, "--metrics=EN", "--classic=false", f"--out={root / 'tables'}"]


@pytest.mark.parametrize(
    ("names", "fused"),
    [
        pytest.param(
            ("hot-{:03}.png", "cold_{:03}_a.png"),
            "{:03}.png",
            marks=brings("pairs", "names that share a number alone", "refused", "says the `--pair` that pairs them"),
        ),
        pytest.param(
            ("{:03}.png", "{:03}.png"),
            "{:03}_fused.png",
            marks=brings("pairs", "results called `001_fused.png`", "refused", "says the `--pair` that pairs them"),
        ),
        pytest.param(
            ("alpha{}_x.png", "alpha{}_y.png"),
            "alpha{}.png",
            marks=brings("pairs", "names that share their beginning", "refused", "says the `--pair` that pairs them"),
        ),
    ],
)
def test_the_pattern_that_is_advised_pairs(
    names: tuple[str, str], fused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = _sources(tmp_path, names, fused)
    capsys.readouterr()
    assert main(command) == 1
    captured = capsys.readouterr()
    advised = re.search(r"--pair '([^']+)'", captured.err + captured.out)
    assert advised, captured.err
    accepted([*command, "--pair", advised[1]], capsys)
    assert len(read_table(tmp_path / "tables" / "per_image.csv")) == 2


@brings("pairs", "one folder for both to `report score`, without a word in names", "refused", "not paired with itself")
def test_a_folder_is_not_scored_against_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path / "both" / "1.png", tmp_path / "both" / "2.png")
    place = tmp_path / "both"
    command = ["report", "score", f"--infrared={place}", f"--visible={place}", f"--fused={place}"]
    refused(command, capsys, "not paired with itself", "--infrared and --visible")
