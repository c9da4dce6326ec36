"""`main.py study table`: what is joined of the runs of a study, beside numbers that are added up by hand."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from scipy.stats import wilcoxon

from ivif.callbacks.tables import DetectionTable
from ivif.commands.errors import UsageError
from ivif.commands.study.command import main
from ivif.commands.study.record import StudyRun, read_record, write_record
from ivif.commands.study.table_page import sortable
from ivif.contracts.batch import Detections, Targets
from ivif.files.inside import OutsideFileError
from ivif.files.table_files import read_table, write_table
from ivif.files.text_tables import TextTable
from ivif.metrics.detection import DetectionMetrics
from tests.browsers import browser_page, needs_browser

NAMES = [f"{index:02d}" for index in range(8)]
QABF = {("ours", 0): 0.60, ("ours", 1): 0.64, ("other", 0): 0.50, ("other", 1): 0.52}
"""Row, seed -> the mean of Qabf; pictures lie around it."""
QCV = {"ours": 300.0, "other": 290.0}


def _write_test(folder: Path, qabf: float, qcv: float, cost: str = "-", dataset: str = "tno") -> None:
    """Tables of a test: eight pictures of a method, and of one plain rule."""
    rows = [
        {"method": method, "dataset": dataset, "name": name, "width": 64, "height": 48}
        | {"Qabf": mean + (index - 3.5) / 100, "Qcv": chen + (index - 3.5)}
        for method, mean, chen in (("MGFusion", qabf, qcv), ("average", 0.4, 500.0))
        for index, name in enumerate(NAMES)
    ]
    write_table(pd.DataFrame(rows), folder / "test_per_image.csv")
    costs = {"parameters (M)": cost, "GFLOPs": cost, "ms": cost, "memory (MiB)": cost, "measured at": "64x48, CPU"}
    summary = {"dataset": dataset, "method": "MGFusion", "n": 8, "convention": "mgfusion"} | (
        costs if cost != "-" else {}
    )
    write_table(pd.DataFrame([summary]), folder / "test.csv")


def _write_boxes(folder: Path, ap: float) -> None:
    scores = {"dataset": "tno", "method": "MGFusion", "AP50": ap + 0.2, "precision": 0.7, "recall": 0.6, "images": 8}
    rows = [scores | {"class": name, "AP50_95": ap + more} for name, more in (("mean", 0.0), ("People", 0.1))]
    write_table(pd.DataFrame(rows), folder / "detection.csv")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    runs = []
    for (row, seed), qabf in QABF.items():
        place = f"{row}-{seed}/tables"
        _write_test(tmp_path / "study" / place, qabf, QCV[row], "2.5" if row == "ours" else "5")
        _write_boxes(tmp_path / "study" / place, qabf / 2)
        runs.append(StudyRun(row, "run", ("mgfusion.yaml",), seed=seed, tables=(place,), state="finished"))
    write_record(tmp_path / "study", runs)
    return tmp_path / "study"


def _tables(study: Path, *options: str, code: int = 0) -> Path:
    assert main(["table", str(study), *options]) == code
    return study / "tables"


def _rows(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading of a Markdown text, by their first cell."""
    lines = text[text.index(f"## {title}") :].splitlines()
    table = [line.strip("| ").split(" | ") for line in lines[: _end(lines)] if line.startswith("|")]
    return {row[0]: row[1:] for row in table}


def _end(lines: list[str]) -> int:
    begun = next(index for index, line in enumerate(lines) if line.startswith("|"))
    return next(index for index, line in enumerate(lines) if index > begun and not line.startswith("|"))


def test_means_spread_and_ranks_are_those_of_the_seeds(study: Path) -> None:
    summary = read_table(_tables(study) / "summary.csv")
    found: Any = summary[summary["convention"] == "mgfusion"].set_index(["metric", "method"])
    assert found.loc[("Qabf", "ours"), ["mean", "std", "seeds", "n", "rank"]].tolist() == pytest.approx(
        [0.62, 0.02 * 2**0.5, 2, 8, 1]
    )
    assert found.loc[("Qabf", "other"), ["mean", "std", "rank"]].tolist() == pytest.approx([0.51, 0.01 * 2**0.5, 2])
    assert found.loc[("Qabf", "average"), ["mean", "std", "seeds", "rank"]].tolist() == pytest.approx([0.4, 0, 0, 3])
    assert found["rank"]["Qcv"].to_dict() == {"ours": 2, "other": 1, "average": 3}
    boxes: Any = summary[summary["convention"] == "AP50_95"].set_index(["metric", "method"])["mean"]
    assert boxes["mean", "ours"] == pytest.approx(0.31)
    assert boxes["People", "other"] == pytest.approx(0.255 + 0.1)
    rows = _rows((study / "tables" / "tables.md").read_text(), "tno, convention mgfusion")
    assert rows["ours"][:6] == ["2", "8", "64x48", "**0.62 ± 0.02828 (1)**", "300 ± 0 (2)", "1.5"]
    assert rows["ours"][6:8] == ["2.5", "2.5"]
    assert list(rows)[2:5] == ["ours", "other", "average"]
    text = (study / "tables" / "tables.tex").read_text()
    assert "ours & 2 & 8 & 64x48 & \\textbf{0.62 $\\pm$ 0.02828 (1)}" in text


def test_differences_are_paired_over_the_pictures_and_held_against_the_spread(study: Path) -> None:
    table = read_table(_tables(study) / "differences.csv")
    found: Any = table[table["convention"] == "mgfusion"].set_index(["metric", "method"])
    edges, chen = found.loc[("Qabf", "other")], found.loc[("Qcv", "other")]
    assert edges["reference"] == "ours"
    assert edges["difference"] == pytest.approx(-0.11)
    assert edges["spread"] == pytest.approx(0.03 * 2**0.5)
    assert bool(edges["exceeds"])
    assert edges["pairs"] == 8
    assert edges["p"] == pytest.approx(float(wilcoxon([-0.11] * 8).pvalue))
    four = found["p"].sort_values()
    assert found["p_holm"].max() == pytest.approx(min(1.0, max(p * (4 - place) for place, p in enumerate(four))))
    assert bool(chen["exceeds"])  # the seeds agree
    boxes = table[(table["convention"] == "AP50") & (table["metric"] == "mean")].iloc[0]
    assert boxes["pairs"] == 0
    assert pd.isna(boxes["p"])
    other = read_table(_tables(study, "--reference", "other") / "differences.csv")
    assert set(other["reference"]) == {"other"}


def test_what_the_spread_covers_is_marked_and_one_seed_is_not(study: Path) -> None:
    for seed, qabf in ((0, 0.60), (1, 0.50)):
        _write_test(study / f"other-{seed}" / "tables", qabf, 290.0)
    rows = _rows((_tables(study) / "tables.md").read_text(), "tno, convention mgfusion")
    assert rows["other"][3] == "0.55 ± 0.07071 (2) ≈"
    write_record(study, [run for run in read_record(study) if run.seed == 0])
    rows = _rows((_tables(study) / "tables.md").read_text(), "tno, convention mgfusion")
    assert rows["ours"][:4] == ["1", "8", "64x48", "**0.6 (1)**"]
    assert "≈" not in rows["other"][3]


def test_published_rows_stand_below_ours_and_change_no_rank_unasked(study: Path) -> None:
    rows = _rows((_tables(study) / "tables.md").read_text(), "tno, convention mgfusion")
    below = rows["CHITNet (published)"]
    assert below[:5] == ["-", "55", "-", "0.4393", "387.36"]
    assert below[-1] == "Yang et al. 2024, table 3"
    assert rows["ours"][-1] == "ours"
    assert rows["ours"][3].endswith("(1)**")
    ranked = _rows((_tables(study, "--rank_published", "true") / "tables.md").read_text(), "tno, convention mgfusion")
    assert ranked["MGFusion (published)"][3:5] == ["0.5654 (2)", "**268.83 (1)**"]
    assert ranked["average"][3] == "0.4 (6)"  # behind ours, MGFusion, the other, DATFuse and CHITNet
    without = (_tables(study, "--published") / "tables.md").read_text()
    assert "published" not in without


def test_the_page_needs_nothing_and_runs_nothing(study: Path) -> None:
    page = (_tables(study) / "study.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    assert "default-src 'none'" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert (study / "tables" / "efficiency.png").is_file()


@pytest.mark.slow
@needs_browser
def test_a_click_on_a_head_sorts_the_page(study: Path) -> None:
    with browser_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((_tables(study) / "study.html").as_uri())
        table = page.locator("table", has_text="average").first

        def shown() -> list[str]:
            """The first three rows from top to bottom, as the eye finds them."""
            heads = table.locator("tbody th").all()
            return [name for _, name in sorted((head.bounding_box()["y"], head.inner_text()) for head in heads)][:3]

        assert shown() == ["ours", "other", "average"]
        table.locator("thead th", has_text="Qcv").click()
        assert shown() == ["other", "ours", "average"]
        table.locator("thead th").first.click()
        assert shown() == ["ours", "other", "average"]
        assert len(asked) == 1


def test_columns_sort_by_their_direction_and_leave_others_below() -> None:
    cells = [
        ["a", "0.5 (2)", "10", "-"],
        ["b", "0.7 ± 0.1", "30", "x"],
        ["c", "-", "20", "y"],
        ["theirs", "0.9", "1", "a"],
    ]
    table = sortable(TextTable(["method", "Qabf ↑", "Qcv ↓", "source"], cells), "t", 3)
    by_column = [
        [row[0] for _, row in sorted(zip(places, cells, strict=True))] for places in zip(*table.places, strict=True)
    ]
    assert by_column[0] == ["a", "b", "c", "theirs"]
    assert by_column[1] == ["b", "a", "c", "theirs"]
    assert by_column[2] == ["a", "c", "b", "theirs"]


def test_unfinished_runs_are_named_and_end_with_one(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = read_record(study)
    write_record(study, [*runs, StudyRun("third", "run", seed=4, state="failed", problem="out of memory")])
    tables = _tables(study, code=1)
    assert "NOT IN THE TABLES: third, seed 4: failed, out of memory" in capsys.readouterr().out
    assert "- third, seed 4: failed, out of memory" in (tables / "tables.md").read_text()


def test_a_foreign_folder_is_a_row(study: Path) -> None:
    rows = [
        {"method": method, "name": name, "convention": "mgfusion", "metric": "Qabf", "value": value}
        | {"dataset": "tno", "width": 64, "height": 48}
        for method, value in (("results/SeAFusion", 0.7), ("average", 0.4))
        for name in NAMES
    ]
    write_table(pd.DataFrame(rows), study / "sea" / "tables" / "per_image.csv")
    run = StudyRun("SeAFusion", "folder", tables=("sea/tables",), state="finished")
    write_record(study, [*read_record(study), run])
    found = _rows((_tables(study) / "tables.md").read_text(), "tno, convention mgfusion")
    assert found["SeAFusion"][:5] == ["-", "8", "64x48", "**0.7 (1)**", "-"]


def test_folds_are_joined_before_the_spread(tmp_path: Path) -> None:
    runs = []
    for seed, fold, qabf in ((0, 0, 0.2), (0, 1, 0.4), (1, 0, 0.3), (1, 1, 0.5)):
        place = f"{seed}-{fold}/tables"
        _write_test(tmp_path / place, qabf, 1.0)
        path = tmp_path / place / "test_per_image.csv"
        table = read_table(path)
        write_table(table.assign(name=f"{fold}-" + table["name"]), path)
        runs.append(StudyRun("ours", "run", seed=seed, fold=fold, tables=(place,), state="finished"))
    write_record(tmp_path, runs)
    summary = read_table(_tables(tmp_path) / "summary.csv")
    found = summary[(summary["metric"] == "Qabf") & (summary["method"] == "ours")].iloc[0]
    assert found[["mean", "std", "seeds", "n"]].tolist() == pytest.approx([0.35, 0.1 / 2**0.5, 2, 16])


def test_a_row_that_lacks_a_fold_is_not_compared_with_a_whole_one(tmp_path: Path) -> None:
    runs = []
    for row, folds, qabf in (("ours", (0, 1), 0.3), ("late", (0,), 0.9), ("other", (0, 1), 0.4)):
        for fold in folds:
            place = f"{row}-{fold}/tables"
            _write_test(tmp_path / place, qabf + fold / 10, 1.0)
            path = tmp_path / place / "test_per_image.csv"
            table = read_table(path)
            write_table(table.assign(name=f"{fold}-" + table["name"]), path)
            runs.append(StudyRun(row, "run", seed=0, fold=fold, tables=(place,), state="finished"))
    write_record(tmp_path, runs)
    tables = _tables(tmp_path)
    found = read_table(tables / "differences.csv").query("metric == 'Qabf'").set_index("method")["difference"]
    assert found["other"] == pytest.approx(0.1)
    assert pd.isna(found["late"])  # 0.9 - 0.35 would be of other pictures
    text = (tables / "tables.md").read_text()
    assert "| late | 8 | - | - |" in text[text.index("Difference from ours") :]


Found = tuple[float, bool]
"""A detection: its score, and whether it is right."""


def _write_found(folder: Path, pictures: dict[str, Sequence[Found]]) -> None:
    """Tables of a test of pictures with one object each."""
    box, other = [0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 60.0, 40.0]
    metrics = DetectionMetrics(["person"])
    for name, found in pictures.items():
        detections: Detections = {
            "boxes": torch.tensor([box if right else other for _, right in found]).reshape(-1, 4),
            "scores": torch.tensor([score for score, _ in found]),
            "labels": torch.zeros(len(found), dtype=torch.int64),
        }
        wanted: Targets = {"boxes": torch.tensor([box]), "labels": torch.tensor([0])}
        metrics.update([detections], [wanted], ["tno"], [name])
    _write_test(folder, 0.5, 1.0)
    DetectionTable("ours", metrics.report(), {"tno": {(64, 48)}}).write(folder)


@pytest.fixture
def of_two_folds(tmp_path: Path) -> Path:
    _write_found(tmp_path / "0", {"a": [(0.3, True)]})
    _write_found(tmp_path / "1", {"b": [(0.9, False), (0.8, True)]})
    runs = [StudyRun("ours", "run", seed=0, fold=fold, tables=(str(fold),), state="finished") for fold in (0, 1)]
    write_record(tmp_path, runs)
    return tmp_path


def test_average_precision_is_of_all_folds_together(of_two_folds: Path) -> None:
    tables = _tables(of_two_folds)
    found = _rows((tables / "tables.md").read_text(), "tno, AP50 ↑")["ours"]
    assert found[:4] == ["1", "2", "-", "0.6667 (1)"]  # wrong, right, right: not the mean of 1 and 0.5
    assert "those of the pictures of all folds together" in (tables / "tables.md").read_text()


def test_tests_that_kept_no_pictures_are_averaged_and_that_is_said(of_two_folds: Path) -> None:
    (of_two_folds / "0" / "detection_per_image.safetensors").unlink()
    text = (_tables(of_two_folds) / "tables.md").read_text()
    assert _rows(text, "tno, AP50 ↑")["ours"][3] == "0.75 (1)"
    assert "the means of those of the folds" in text


def test_rows_of_boxes_are_compared_picture_by_picture(tmp_path: Path) -> None:
    right, wrong = [(0.8, True)], [(0.8, False)]
    rows = {"ours": [right] * 12, "worse": [wrong] * 12, "alike": [*[right] * 11, wrong]}
    for row, pictures in rows.items():
        for seed in (0, 1):
            _write_found(tmp_path / f"{row}{seed}", {f"{index:02d}": own for index, own in enumerate(pictures)})
    runs = [
        StudyRun(row, "run", seed=seed, tables=(f"{row}{seed}",), state="finished") for row in rows for seed in (0, 1)
    ]
    write_record(tmp_path, runs)
    tables = _tables(tmp_path)
    found = read_table(tables / "differences.csv").query("convention == 'AP50' and metric == 'mean'")
    p_values = found.set_index("method")["p"].to_dict()
    assert p_values == {"worse": pytest.approx(0.001, abs=0.002), "alike": 1.0}  # two of 4,096 exchanges do as much
    assert set(found["pairs"]) == {12}
    assert "what two rows found is exchanged" in (tables / "tables.md").read_text()
    (tmp_path / "worse1" / "detection_per_image.safetensors").unlink()
    found = read_table(_tables(tmp_path) / "differences.csv").query("convention == 'AP50' and metric == 'mean'")
    assert found.set_index("method")["pairs"].to_dict() == {"worse": 12, "alike": 12}  # by the seed that is left


def test_damaged_detections_are_named(of_two_folds: Path) -> None:
    path = of_two_folds / "1" / "detection_per_image.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"1/detection_per_image.*damaged.*Test the runs of ours again"):
        _tables(of_two_folds)


def test_mistakes_are_named(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--reference absent: there is no such row, but ours, other, average"):
        _tables(study, "--reference", "absent")
    with pytest.raises(UsageError, match="--cost seconds: there is no such column, but parameters"):
        _tables(study, "--cost", "seconds")
    with pytest.raises(UsageError, match=r"no folder 'runs/studies/mine' of the study 'mine\.yaml'"):
        main(["table", "mine.yaml"])
    with pytest.raises(UsageError, match=r"study\.json' is missing"):
        main(["table", str(tmp_path)])
    (study / "ours-0" / "tables" / "test.csv").write_text("")
    with pytest.raises(UsageError, match=r"test\.csv' of ours cannot be read"):
        _tables(study)
    (study / "study.json").write_text('{"runs": [{"row": "a", "kind": "run", "sed": 1}]}')
    with pytest.raises(UsageError, match="no record of a study: unknown sed"):
        _tables(study)


def test_links_out_of_a_folder_of_tables_are_refused(study: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("dataset\n")
    path = study / "ours-0" / "tables" / "test.csv"
    path.unlink()
    path.symlink_to(tmp_path / "secret.csv")
    with pytest.raises(OutsideFileError, match="outside of the folder"):
        _tables(study)


def test_rows_that_were_trained_alike_are_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [replace(run, folder=f"{run.row}-{run.seed}") for run in read_record(study)]
    write_record(study, runs)
    for run in runs:
        own = f"run_name: {run.row}\nruns_dir: {study / run.folder}\n"
        (study / run.folder / "config.yaml").write_text(f"{own}seed_everything: {run.seed}\nmodel: {{prompts: null}}\n")
    text = (_tables(study) / "tables.md").read_text(encoding="utf-8")
    assert "## Trained alike" in text
    assert text.count("ours, other have the same settings") == 1
    assert "TRAINED ALIKE: ours, other have the same settings" in capsys.readouterr().out
    assert "Trained alike" in (study / "tables" / "study.html").read_text(encoding="utf-8")
    for run in runs:
        if run.row == "other":
            path = study / run.folder / "config.yaml"
            path.write_text(path.read_text().replace("prompts: null", "prompts: {clip: compact}"))
    assert "alike" not in (_tables(study) / "tables.md").read_text(encoding="utf-8").lower()
    (study / runs[0].folder / "config.yaml").write_text("{damaged")
    (study / runs[1].folder / "config.yaml").write_text("no settings")
    _tables(study)
