"""The definition of a W&B workspace and report, as it would be sent."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ivif.commands.cli import main as command_line
from ivif.commands.errors import UsageError
from ivif.commands.report.command import main
from ivif.testing.configurations import SHORT
from tests.configs.test_configs import SMALL, clip_flags

SSDLITE = ("--model.init_args.detector.architecture=ssdlite320", "--trainer.max_steps=2")
LOGGED = (
    "train/loss",
    "train/gradient",
    "train/bbox_ctrness",
    "train/learning_rate",
    "train/gradient_norm",
    "train/lower/loss",
    "train/lower/content",
    "train/lower/learning_rate",
    "train/upper/box",
    "train/upper/gradient_norm",
    "train/value/content",
    "train/bilevel/penalty_weight",
    "train/codebook/perplexity",
    "train/prompts/fused",
    "train/content/ssim",
    "val/Qabf",
    "val/made/Qabf",
    "val/mAP50_95",
    "perf/pairs_per_second",
    "perf/data_share",
    "perf/peak_memory_gb",
)
"""Names that runs log."""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["workspace", "--entity", "team", "--project", "made", "--out", str(tmp_path / "out")]) == 0
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "out").glob("*.json")}


def _panels(workspace: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: [panel["config"] for panel in section["panels"]] for section in sections}


def _shows(panel: dict[str, Any], name: str) -> bool:
    return name in panel.get("metrics", ()) or bool(re.fullmatch(panel.get("metricRegex") or "$", name))


def test_the_workspace_shows_what_runs_log(written: dict[str, Any]) -> None:
    workspace = written["workspace"]
    assert (workspace["entity"], workspace["project"]) == ("team", "made")
    panels = [panel for section in _panels(workspace).values() for panel in section]
    assert {panel["xAxis"] for panel in panels} == {"trainer/global_step"}
    assert [name for name in LOGGED if not any(_shows(panel, name) for panel in panels)] == []


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mgfusion", ()),
        pytest.param("detection", (), marks=pytest.mark.slow),
        ("detection", SSDLITE),
        pytest.param("text_to_pixels", (), marks=pytest.mark.slow),
        ("promptfusion", ()),
    ],
    ids=["mgfusion", "detection", "ssdlite", "text_to_pixels", "promptfusion"],
)
def test_every_value_of_training_has_a_panel(
    method: str, options: tuple[str, ...], written: dict[str, Any], tmp_path: Path
) -> None:
    run = [
        f"--config={method}.yaml",
        *SHORT,
        *SMALL[method],
        *clip_flags(method),
        "--trainer.fast_dev_run=false",
        "--trainer.max_steps=8",
        "--trainer.limit_val_batches=1",
        "--trainer.log_every_n_steps=1",
        "--trainer.num_sanity_val_steps=0",
        "--on_non_finite=skip",
        *options,
    ]
    assert command_line(["fit", *run, f"--runs_dir={tmp_path}"]) == 0
    (log,) = tmp_path.rglob("metrics.csv")
    names = [name for name in pd.read_csv(log).columns if name.startswith(("train/", "perf/"))]
    panels = [panel for section in _panels(written["workspace"]).values() for panel in section]
    assert len(names) > 5
    assert [name for name in names if not any(_shows(panel, name) for panel in panels)] == []


def test_sections_follow_the_levels(written: dict[str, Any]) -> None:
    sections = _panels(written["workspace"])
    shown = {title: [name for name in LOGGED if any(_shows(p, name) for p in own)] for title, own in sections.items()}
    assert shown["Lower level: fusion"] == ["train/lower/loss", "train/lower/content", "train/lower/learning_rate"]
    assert shown["Bilevel scheme"] == ["train/bilevel/penalty_weight"]
    assert shown["Validation per dataset"] == ["val/made/Qabf"]
    (terms,) = [panel for panel in sections["Training"] if panel["chartTitle"].startswith("Terms")]
    assert [name for name in LOGGED if _shows(terms, name)] == ["train/gradient", "train/bbox_ctrness"]
    titles = [panel["chartTitle"] for panel in sections["Validation"]]
    assert {"Qabf ↑", "mAP50_95 ↑"} <= set(titles)


def test_the_report_compares_experiments(written: dict[str, Any]) -> None:
    report = written["report"]
    grids = [block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    bars = [panel["config"] for panel in grids[1]["panelBankSectionConfig"]["panels"]]
    assert [bar["metrics"] for bar in bars] == [["test/Qabf"], ["test/VIF"], ["test/SSIM"], ["test/mAP50_95"]]
    assert all("project" not in runs for grid in grids for runs in grid["runSets"])


def test_saving_without_a_key_says_so(written: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"W&B did not take the workspace.*wandb login"):
        main(["workspace", "--entity", "team", "--out", str(tmp_path), "--save"])
