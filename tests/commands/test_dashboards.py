"""What W&B and TensorBoard hold of runs made on the command line, against `metrics.csv` and the tables."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ivif.callbacks.wandb_run import RUN_ID
from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run
from tests.wandb_records import config, history, kind, records, run

Values = dict[tuple[str, int], float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch that was resumed for another, with both dashboards."""
    runs = tmp_path_factory.mktemp("runs")
    options = ("--trainer.logger=both.yaml", "--wandb_project=tests")
    assert main(tiny_run("fit", runs, *options)) == 0
    assert main(["fit", f"--resume={newest_run(runs)}", "--trainer.max_epochs=2"]) == 0
    return newest_run(runs)


@pytest.fixture(scope="module")
def logged(folder: Path) -> Values:
    """Every value of `metrics.csv`, the part before the resume included."""
    found = pd.read_csv(folder / "metrics.csv").melt("step").dropna()
    return {(name, int(step)): value for step, name, value in found.itertuples(index=False)}


def _wandb_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def _scalars(rows: list[dict[str, Any]]) -> Values:
    found: Values = {}
    for row in rows:
        step = row.pop("trainer/global_step", None)
        names = [name for name in row if not name.startswith(("_", "panels/"))]
        found |= {(name, int(str(step))): row[name] for name in names}
    return found


def test_wandb_holds_the_values_of_the_csv_log(folder: Path, logged: Values) -> None:
    held = _scalars([row for path in _wandb_runs(folder) for row in history(path)])
    assert held.keys() == logged.keys()
    assert {("train/loss", 3), ("val/Qabf", 3), ("train/learning_rate", 0), ("train/gradient_norm", 1)} <= held.keys()
    assert held == pytest.approx(logged, rel=1e-6)


def test_tensorboard_holds_the_values_of_the_csv_log(folder: Path, logged: Values) -> None:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    held = {(tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    assert held == pytest.approx(logged, rel=1e-6)
    (tag,) = [tag for tag in events.Tags()["images"] if tag.startswith("panels/val/synthetic/day")]
    assert [image.step for image in events.Images(tag)] == [1, 3]
    texts = [tag for tag in events.Tags()["tensors"] if tag.endswith("text_summary")]
    assert texts == ["config.yaml/text_summary", "environment.json/text_summary"]


def test_a_resumed_run_is_the_same_wandb_run(folder: Path) -> None:
    first, second = _wandb_runs(folder)
    identity = (folder / RUN_ID).read_text(encoding="utf-8").strip()
    assert run(first).run_id == run(second).run_id == identity
    assert (run(first).project, run(first).run_group, run(first).job_type) == ("tests", "tiny", "fit")


def test_wandb_holds_how_the_run_was_made(folder: Path) -> None:
    path = _wandb_runs(folder)[0]
    assert config(path)["model"]["init_args"]["network"]["channels"] == 8
    record = path / "files" / "record"
    assert yaml.safe_load((record / "config.yaml").read_text(encoding="utf-8"))["run_name"] == "tiny"
    assert "torch" in json.loads((record / "environment.json").read_text(encoding="utf-8"))["packages"]


def test_axes_and_best_values_are_defined(folder: Path) -> None:
    metrics = {
        r.metric.name or r.metric.glob_name: r.metric for r in records(_wandb_runs(folder)[0]) if kind(r) == "metric"
    }
    assert metrics["*"].step_metric == "trainer/global_step"
    assert metrics["val/Qabf"].summary.max
    assert metrics["val/Qcv"].summary.min
    assert not metrics["val/Qcv"].summary.max


def test_the_panel_of_a_later_validation_shows_the_previous_result(folder: Path) -> None:
    panels = folder / "panels" / "val"
    first, second = (sorted((panels / step).glob("synthetic/day*.png")) for step in ("step0000002", "step0000004"))
    small, large = Image.open(first[0]), Image.open(second[0])
    assert large.width == (small.width - 8) // 3 * 4 + 12
    earlier = np.asarray(Image.open(panels / "step0000002" / "fused" / "synthetic" / first[0].name).convert("RGB"))
    assert np.array_equal(np.asarray(large)[-earlier.shape[0] :, -earlier.shape[1] :], earlier)
    media = sorted(path.name for path in _wandb_runs(folder)[1].rglob("files/media/images/panels/val/synthetic/*.png"))
    assert len(media) == 2


def test_tables_of_a_test_reach_both_dashboards(folder: Path) -> None:
    runs = folder.parent.parent
    checkpoint = f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"
    assert main(tiny_run("test", runs, "--run_name=tested", "--trainer.logger=both.yaml", checkpoint)) == 0
    tested = (runs / "tested" / "latest").resolve()
    (path,) = _wandb_runs(tested)
    (table,) = path.rglob("files/media/table/tables/test_per_image*.json")
    held = json.loads(table.read_text(encoding="utf-8"))
    with (tested / "tables" / "test_per_image.csv").open(encoding="utf-8", newline="") as stream:
        columns, *written = csv.reader(stream)
    assert held["columns"] == columns
    assert [row[:3] for row in held["data"]] == [row[:3] for row in written]
    assert [row[3] for row in held["data"]] == pytest.approx([float(row[3]) for row in written])
    events = EventAccumulator(str(tested / "tensorboard")).Reload()
    text = events.Tensors("tables/test/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == (tested / "tables" / "test.md").read_text(encoding="utf-8")
