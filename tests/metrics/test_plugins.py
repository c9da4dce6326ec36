"""Metrics of installed packages: asked for by name, scored, and shown with their direction."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from ivif.callbacks.evaluator import Evaluator
from ivif.commands.report.command import main
from ivif.contracts import plugins
from ivif.files.table_files import read_table
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.metrics import METRICS, FusionMetric, FusionMetrics, MetricEntry
from ivif.metrics.functional import Triplet, formula_triplet
from ivif.testing.batches import MadeData, quiet_trainer
from tests.fakes import write_folder


def darkness(triplet: Triplet, levels: float = 255.0) -> Tensor:
    """The share by which the fused image falls short of white."""
    return 1 - triplet.fused.mean(dim=(1, 2, 3)) / levels


DARKNESS = MetricEntry("darkness", darkness, higher_is_better=False, conventions={"vifb": {"levels": 510.0}})
ONE_FOR_ALL = MetricEntry("mean of the batch", lambda triplet: triplet.fused.mean())
NAMES = {
    "Dark": "DARKNESS",
    "Mean": "ONE_FOR_ALL",
    "Function": "darkness",
    "Missing": "absent",
    "val/Dark": "DARKNESS",
    "EN": "DARKNESS",
}


@pytest.fixture(autouse=True)
def _a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {name: EntryPoint(name, f"{__name__}:{attr}", plugins.METRICS) for name, attr in NAMES.items()}
    monkeypatch.setattr(plugins, "installed", lambda group: entries if group == plugins.METRICS else {})


def test_a_foreign_metric_is_scored_under_the_convention() -> None:
    fused, infrared, visible = (image / 255 for image in formula_triplet("average", 32, 32))
    expected = 1 - (fused * 255).round().mean().item() / 255
    for convention, value in (("standard", expected), ("vifb", (1 + expected) / 2)):
        alone, together = FusionMetric("Dark", convention), FusionMetrics(["EN", "Dark"], convention)
        alone.update(fused, infrared, visible)
        together.update(fused, infrared, visible, dataset=["a"], name=["b"])
        assert alone.compute().item() == pytest.approx(value, abs=1e-6)
        assert together.compute()["Dark"].item() == pytest.approx(value, abs=1e-6)
    assert not FusionMetric("Dark").higher_is_better


def test_names_of_the_suite_stay_its_own() -> None:
    assert METRICS["EN"].title == "entropy"
    assert [*METRICS][-6:] == ["EI", "Dark", "Mean", "Function", "Missing", "val/Dark"]
    assert len(METRICS) == len([*METRICS]) == 26


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dark", "Unknown metrics dark; nearest: Dark, val/Dark; known: EN, .*, Dark, Mean"),
        ("Function", "must be a `MetricEntry`"),
        ("val/Dark", "letters, digits and underscores"),
        ("Missing", "'Missing' of the installed package .* cannot be imported"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionMetrics([name])


def test_one_value_for_all_images_is_refused() -> None:
    images = torch.rand(3, 2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"'mean of the batch' gives a tensor of shape \(\) for 2 images"):
        FusionMetric("Mean").update(*images)


def test_tables_of_a_run_show_its_direction(tmp_path: Path) -> None:
    evaluator = Evaluator(metrics=["Dark"], test_metrics=["EN", "Dark"], classic_rows=False)
    trainer = quiet_trainer(tmp_path, callbacks=[evaluator])
    trainer.test(ClassicFusionTask("maximum"), MadeData(), verbose=False)
    assert "| EN ↑ | Dark ↓ |" in (tmp_path / "tables" / "test.md").read_text(encoding="utf-8")
    shares = read_table(tmp_path / "tables" / "test_per_image.csv")["Dark"]
    assert shares.between(0, 1).all()
    assert trainer.validate(ClassicFusionTask("maximum"), MadeData(), verbose=False)[0]["val/Dark"] > 0


def test_the_report_ranks_by_its_direction(tmp_path: Path) -> None:
    root, out = write_folder(tmp_path), tmp_path / "out"
    sources = ["--infrared", str(root / "ir"), "--visible", str(root / "vi"), "--fused", str(root / "vi")]
    assert main(["score", *sources, "--out", str(out), "--metrics", "Dark"]) == 0
    summary = pd.read_csv(out / "summary.csv").set_index("method")
    assert summary["mean"].idxmin() == summary["rank"].idxmin() == "maximum"
    assert "Dark ↓" in (out / "summary.md").read_text(encoding="utf-8")
