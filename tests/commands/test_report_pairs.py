"""Which pairs `main.py report score` compares methods on, and what a bad folder costs the others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.files.table_files import read_table
from tests.commands.runs import QUIET
from tests.fakes import write_folder, write_roadscene, write_tno
from tests.inputs import brings
from tests.refusals import accepted, refused

COUNT = 5
CLASSIC = {"average", "maximum", "laplacian_pyramid", "contourlet"}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Pairs `ir`, `vi` of 5 scenes, and two methods with a picture of each: `first` and `second`."""
    root = write_folder(tmp_path, count=COUNT, size=(48, 56))
    for method, source in (("first", "vi"), ("second", "ir")):
        shutil.copytree(root / source, root / method)
    return root


def _score(root: Path, *methods: str, more: tuple[str, ...] = ()) -> list[str]:
    fused = [str(root / method) for method in methods]
    sources = ["--infrared", str(root / "ir"), "--visible", str(root / "vi"), "--fused", *fused]
    return ["report", "score", *sources, "--metrics=EN", f"--out={root / 'out'}", *more]


def _counts(root: Path) -> dict[str, int]:
    table = read_table(root / "out" / "summary.csv")
    return dict(zip(table["method"], table["images"], strict=True))


@brings(
    "tables",
    "`report score` of methods that have different pictures (a test part beside all pairs)",
    "works",
    "methods and classic rows are scored on the pairs that all of them have; how many are left out, of which method, "
    "is one line",
)
def test_methods_and_classic_rows_are_scored_on_the_pairs_that_all_have(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("000", "001", "004"):
        (folders / "second" / f"{name}.png").unlink()
    (folders / "first" / "003.png").unlink()
    shown = accepted(_score(folders, "first", "second"), capsys)
    assert "Scored: 1 of 5 pairs, those that all methods have; missing are 1 for first, 3 for second (--pairs" in shown
    assert shown.count("warning") == 1
    assert _counts(folders) == dict.fromkeys(("first", "second", *CLASSIC), 1)
    assert set(read_table(folders / "out" / "per_image.csv")["name"]) == {"002"}
    assert "folder: means over 1 pairs, 56x48, convention 'standard'" in shown
    for file in ("summary.md", "summary.tex"):
        text = (folders / "out" / file).read_text(encoding="utf-8")
        assert "Scored: 1 of 5 pairs, those that all methods have; missing are 1 for first, 3 for second" in text
        assert "56x48" in text


@brings(
    "tables",
    "`report score --pairs all`",
    "works",
    "each method is scored on all pairs that it has; a mean over fewer pairs than others have gets no rank",
)
def test_all_pairs_count_where_they_are_asked_for(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "second" / "001.png").unlink()
    shown = accepted(_score(folders, "first", "second", more=("--pairs=all",)), capsys)
    assert (
        "Scored: 5 of 5 pairs, each method on those that it has; missing are 1 for second, whose means have no rank."
        in shown
    )
    assert _counts(folders) == dict.fromkeys(("first", *CLASSIC), 5) | {"second": 4}
    ranks = read_table(folders / "out" / "summary.csv").set_index("method")["rank"]
    assert ranks.isna().to_dict() == dict.fromkeys(("first", *CLASSIC), False) | {"second": True}
    (pairs,) = [line for line in shown.splitlines() if line.startswith("│ pairs")]
    assert pairs.replace("│", "").split() == ["pairs", "5", "4", *["5"] * 4]


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _damage(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-100])


def _shrink(folder: Path) -> None:
    for path in folder.iterdir():
        Image.open(path).resize((28, 24)).save(path)


def _rename(folder: Path) -> None:
    for path in folder.iterdir():
        path.rename(folder / f"{path.stem}_fused.png")


def _double(folder: Path) -> None:
    Image.open(folder / "000.png").convert("RGB").save(folder / "000.jpg")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        pytest.param(
            _empty,
            "bad: '{}' holds no pictures",
            marks=brings(
                "tables", "an empty folder among those of `report score`", "reported", "the others are scored"
            ),
        ),
        pytest.param(
            _damage,
            "bad: none of its 5 pictures of these pairs can be used: ",
            marks=brings("tables", "a folder of damaged pictures", "reported", "the others are scored on all pairs"),
        ),
        pytest.param(
            _shrink,
            "bad: none of its 5 pictures of these pairs can be used: ",
            marks=brings("tables", "a folder of pictures of another size than their pairs", "reported", "likewise"),
        ),
        pytest.param(
            _rename,
            "bad: none of its pictures (000_fused.png, 001_fused.png, 002_fused.png, ...) has the name of a pair. Give",
            marks=brings("tables", "a folder whose names fit no pair", "reported", "likewise, with what to do"),
        ),
        pytest.param(
            _double,
            "bad: '{}/000.jpg' and '{}/000.png' are both of the pair '000'.",
            marks=brings(
                "tables", "a folder with `000.png` and `000.jpg`", "reported", "likewise; both files are named"
            ),
        ),
    ],
)
def test_a_bad_folder_costs_the_others_nothing(
    folders: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], named: str
) -> None:
    shutil.copytree(folders / "vi", folders / "bad")
    spoil(folders / "bad")
    assert main(_score(folders, "first", "bad", "second", more=("--classic=false",))) == 1
    shown = capsys.readouterr().out
    assert f"NOT SCORED: {named.replace('{}', str(folders / 'bad'))}" in shown
    assert "Scored: 5 of 5 pairs.\n" in shown
    assert _counts(folders) == {"first": 5, "second": 5}
    assert "NOT SCORED: bad" in (folders / "out" / "summary.md").read_text(encoding="utf-8")
    refused(_score(folders, "bad"), capsys, "Nothing of bad could be scored.", "NOT SCORED: bad: ")


def test_one_bad_picture_costs_its_pair(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "second" / "001.png").write_bytes(b"")
    (folders / "vi" / "002.png").write_bytes(b"")
    shown = accepted(_score(folders, "first", "second"), capsys)
    assert "Scored: 3 of 5 pairs, those that all methods have; 1 cannot be used; missing are 1 for second" in shown
    assert _counts(folders) == dict.fromkeys(("first", "second", *CLASSIC), 3)
    report = (folders / "out" / "summary.md").read_text(encoding="utf-8")
    assert report.count("second/001.png") == 1
    assert report.count("vi/002.png") == 1


def test_of_methods_without_a_pair_in_common_the_smallest_is_left_out(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "first" / "004.png").unlink()
    for name in ("000", "001", "002", "003"):
        (folders / "second" / f"{name}.png").unlink()
    assert main(_score(folders, "second", "first", more=("--classic=false",))) == 1
    assert "NOT SCORED: second: it has no pair that the others have" in capsys.readouterr().out
    assert _counts(folders) == {"first": 4}


def test_a_pair_too_small_for_a_metric_costs_itself_alone(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("ir", "vi", "first", "second"):
        path = folders / folder / "002.png"
        Image.open(path).resize((20, 20)).save(path)
    shown = accepted(_score(folders, "first", "second", more=("--metrics", "VIF", "--classic=false")), capsys)
    assert "Scored: 4 of 5 pairs; 1 cannot be used." in shown
    assert "'002' cannot be scored: " in shown
    assert _counts(folders) == {"first": 4, "second": 4}


@brings(
    "tables",
    "`report score --data X --stage test`",
    "works",
    "the stage's pairs are read and scored as `test` does it; further pictures in the folders do not count",
)
def test_a_stage_of_a_dataset_is_scored_as_test_scores_it(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data=folder.yaml", f"--data.root={folders}", "--data.train_fraction=0.4", "--data.manifest=default"]
    runs = ["--config=classic.yaml", "--model.method=maximum", *data, *QUIET, f"--runs_dir={folders / 'runs'}"]
    accepted(["test", *runs, "--evaluator.test_metrics=[EN, VIF]"], capsys)
    accepted(["predict", *runs, f"--output_dir={folders / 'fused'}"], capsys)
    (path,) = (folders / "runs").rglob("test.csv")
    tested = read_table(path).set_index("method")
    assert len(list((folders / "fused").glob("*.png"))) == COUNT
    assert set(tested["n"]) == {3}
    options = [f"--fused={folders / 'fused'}", "--metrics", "EN", "VIF", f"--out={folders / 'out'}"]
    shown = accepted(["report", "score", *data, "--stage=test", *options], capsys)
    assert "Scored: 3 of 3 pairs (stage test, manifest default)." in shown
    assert "warning" not in shown
    table = read_table(folders / "out" / "summary.csv").set_index(["metric", "method"])
    for metric in ("EN", "VIF"):
        assert table.loc[(metric, "fused"), "mean"] == pytest.approx(tested[metric]["maximum"], rel=1e-6)
        assert table.loc[(metric, "average"), "mean"] == pytest.approx(tested[metric]["average"], rel=1e-6)
    assert set(table["images"]) == {3}
    assert set(table["size"]) == {"56x48"}
    refused(["report", "score", *options], capsys, "--infrared DIR", "--data DATASET")
    refused([*_score(folders, "first"), "--stage=val"], capsys, "--data DATASET, of which --stage takes a part")


def test_several_datasets_have_blocks_of_their_own_and_one_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_roadscene(tmp_path / "data" / "RoadScene", count=2)
    write_tno(tmp_path / "data" / "TNO", count=3)
    data = ["--data=unified.yaml", f"--data.root={tmp_path / 'data'}"]
    runs = ["--config=classic.yaml", *data, "--data.predict_stage=all", *QUIET, f"--runs_dir={tmp_path / 'runs'}"]
    accepted(["predict", *runs, f"--output_dir={tmp_path / 'fused'}"], capsys)
    options = [f"--fused={tmp_path / 'fused'}", "--metrics=EN", f"--out={tmp_path / 'out'}"]
    shown = accepted(["report", "score", *data, "--stage=all", *options], capsys)
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    own = table[table["method"] == "fused"].set_index("dataset")
    assert own["images"].to_dict() == {"roadscene": 2, "tno": 3, "all": 5}
    mean = (2 * own["mean"]["roadscene"] + 3 * own["mean"]["tno"]) / 5
    assert own["mean"]["all"] == pytest.approx(mean, rel=1e-12)
    assert "tno: means over 3 pairs" in shown
