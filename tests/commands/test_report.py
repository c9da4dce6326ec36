"""`main.py report score` on folders made here."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from ivif.commands.errors import UsageError
from ivif.commands.report.command import main
from ivif.commands.report.tables import COLUMNS, _latex, summarise
from ivif.metrics import FusionMetrics
from ivif.metrics.functional import formula_triplet, qabf
from tests.fakes import write_folder

NAMES = ("one", "two", "three")


def _write(folder: Path, name: str, image: Tensor) -> None:
    """Writes (1, 1 or 3, H, W) 0..255 as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = image[0].permute(1, 2, 0).squeeze(-1).to(torch.uint8).numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png")


def _colour(grey: Tensor) -> Tensor:
    return torch.cat((grey, (grey * 0.8).round(), (255 - grey).clamp(0, 90)), dim=1)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for index, name in enumerate(NAMES):
        fused, infrared, visible = formula_triplet("average", 48 + index, 64)
        _write(tmp_path / "ir", name, infrared)
        _write(tmp_path / "vi", name, _colour(visible))
        _write(tmp_path / "results" / "mine", name, _colour(fused))
        _write(tmp_path / "results" / "other", name, infrared)
    return tmp_path


def _arguments(root: Path, *more: str) -> list[str]:
    sources = ["score", "--infrared", str(root / "ir"), "--visible", str(root / "vi"), "--out", str(root / "out")]
    return [*sources, "--fused", str(root / "results" / "mine"), *more]


def test_files_hold_every_method_image_convention_and_metric(folders: Path) -> None:
    more = ["--fused", str(folders / "results" / "other"), "--convention", "standard", "--convention", "cddfuse"]
    assert main([*_arguments(folders, *more), "--metrics", "EN", "Qabf", "SCD"]) == 0
    table = pd.read_csv(folders / "out" / "per_image.csv")
    columns = ["method", "name", "convention", "metric", "value", "dataset", "width", "height"]
    assert list(table.columns) == columns
    assert set(table["method"]) == {"mine", "other", "average", "maximum", "laplacian_pyramid", "contourlet"}
    assert len(table) == 6 * len(NAMES) * 2 * 3
    undefined = table[table["value"].isna()]
    assert set(undefined["method"]) == {"other"}
    assert set(undefined["metric"]) == {"SCD"}
    for name in ("summary.csv", "summary.md", "summary.tex", "figure.png"):
        assert (folders / "out" / name).stat().st_size > 0


def test_files_score_as_the_tensors_they_were_written_from(folders: Path) -> None:
    assert main(_arguments(folders, "--metrics", "EN", "Qabf", "VIF", "--classic", "false")) == 0
    table = pd.read_csv(folders / "out" / "per_image.csv").set_index(["name", "metric"])["value"]
    metrics = FusionMetrics(["EN", "Qabf", "VIF"])
    for index, name in enumerate(NAMES):
        fused, infrared, visible = (image / 255 for image in formula_triplet("average", 48 + index, 64))
        colours = (_colour(image * 255) / 255 for image in (fused, visible))
        metrics.update(next(colours), infrared, next(colours), dataset=[""], name=[name])
    for row in metrics.per_image():
        for metric in ("EN", "Qabf", "VIF"):
            assert table[str(row["name"]), metric] == pytest.approx(row[metric], rel=1e-12)


def test_what_does_not_fit_is_named_and_the_rest_is_scored(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folders / "ir", "lonely", torch.zeros(1, 1, 48, 64))
    _write(folders / "results" / "mine", "leftover", torch.zeros(1, 1, 48, 64))
    _write(folders / "results" / "mine", "one", torch.zeros(1, 1, 20, 64))
    (folders / "results" / "mine" / "two.png").unlink()
    (folders / "results" / "mine" / "notes.txt").write_text("x")
    assert main(_arguments(folders, "--metrics", "EN")) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    report = (folders / "out" / "summary.md").read_text()
    for word in ("lonely", "leftover", "64x20", "no picture of two", "notes.txt"):
        assert word in report
    assert shown.count("warning") == 1
    kinds = "1 without a partner, 1 that are no pictures, 1 of no pair, 1 missing in mine"
    assert f"warning: {kinds}, 1 of another size than their pair; " in shown
    assert "Scored: 1 of 3 pairs, those that all methods have; missing are 2 for mine (--pairs all" in shown
    table = pd.read_csv(folders / "out" / "per_image.csv")
    assert set(table["method"]) == {"mine", "average", "maximum", "laplacian_pyramid", "contourlet"}
    assert set(table["name"]) == {"three"}


def test_records_that_predict_leaves_are_no_pictures(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("predictions.json", "detections.json"):
        (folders / "results" / "mine" / name).write_text("[]")
    assert main(_arguments(folders, "--metrics", "EN", "--classic", "false")) == 0
    assert "warning" not in capsys.readouterr().out
    assert "Nothing was left out." in (folders / "out" / "summary.md").read_text()


def test_a_pattern_pairs_differently_named_files(folders: Path) -> None:
    for index, name in enumerate(NAMES):
        (folders / "ir" / f"{name}.png").rename(folders / "ir" / f"IR_{index}.png")
        (folders / "vi" / f"{name}.png").rename(folders / "vi" / f"{index}-visible.png")
        (folders / "results" / "mine" / f"{name}.png").rename(folders / "results" / "mine" / f"fused{index}.png")
    with pytest.raises(UsageError, match="--pair"):
        main(_arguments(folders))
    assert main(_arguments(folders, "--pair", r"(\d+)", "--metrics", "Qabf", "--classic", "false")) == 0
    table = pd.read_csv(folders / "out" / "per_image.csv")
    assert list(table["name"]) == [0, 1, 2]
    expected = qabf(*formula_triplet("average", 48, 64)).item()
    assert table["value"][0] != pytest.approx(expected)  # the colours change the luma


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--convention", "mine"], "known: standard, mgfusion, cddfuse"),
        (["--metrics", "Qxy"], "known: EN, SD"),
        (["--pair", "(("], "regular expression"),
        (["--metrics", "MS_SSIM"], "176x176"),
        (["--fused", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_explained(folders: Path, more: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        main(_arguments(folders, *more))
    assert message in str(error.value)


def _table(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    """Rows (method, name, metric, value) of pictures of 8x6."""
    filled = [(method, name, "standard", metric, value, "folder", 8, 6) for method, name, metric, value in rows]
    return pd.DataFrame(filled, columns=list(COLUMNS))


def test_ranks_follow_the_direction_and_statistics_leave_undefined_values_out() -> None:
    rows = [("a", "1", "Qcv", 4.0), ("a", "2", "Qcv", 2.0), ("b", "1", "Qcv", 1.0), ("b", "2", "Qcv", 1.5)]
    rows += [("c", "1", "Qcv", 0.5), ("c", "2", "Qcv", float("nan")), ("a", "1", "EN", 7.0), ("b", "1", "EN", 7.00001)]
    rows += [("c", "1", "EN", 6.0), ("a", "2", "EN", float("nan"))]
    summary = summarise(_table(rows))
    table = summary.set_index(["metric", "method"])
    assert list(table["rank"]["Qcv"].fillna(0)) == [2, 1, 0]  # that of c is over another picture
    assert list(table["rank"]["EN"]) == [1, 1, 3]  # equal as they are shown, on the picture where all are defined
    assert table.loc[("Qcv", "a"), "mean"] == 3.0
    assert table.loc[("Qcv", "a"), "std"] == pytest.approx(2**0.5)
    assert (table.loc[("Qcv", "c"), "n"], table.loc[("Qcv", "c"), "images"]) == (1, 2)
    assert set(table["size"]) == {"8x6"}
    latex = _latex(summary, [])
    assert "b & 2 & 8x6 & \\textbf{1.25" in latex
    assert "a & 2 & 8x6 & \\underline{3 $\\pm$ 1.414} & \\textbf{7 (n=1)}" in latex
    assert "c & 2 & 8x6 & 0.5 (n=1) & 6" in latex


def test_methods_on_other_pictures_have_no_rank_though_there_are_as_many() -> None:
    summary = summarise(_table([("a", "1", "EN", 7.0), ("b", "2", "EN", 6.0)]))
    assert summary["rank"].isna().all()


def test_a_method_without_any_match_is_refused_with_the_remedy(tmp_path: Path) -> None:
    root = write_folder(tmp_path, count=2, size=(48, 56))
    fused = tmp_path / "fused"
    fused.mkdir()
    for path in (root / "vi").iterdir():
        shutil.copy(path, fused / f"{path.stem}_fused{path.suffix}")
    folders = ["--infrared", str(root / "ir"), "--visible", str(root / "vi")]
    with pytest.raises(UsageError, match=r"(?s)fused could be scored.*--pair '\(\\d\+\)'"):
        main(["score", *folders, "--fused", str(fused), "--metrics", "EN", "--out", str(tmp_path / "out")])
