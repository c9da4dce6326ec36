"""`ivif report workspace`: a W&B workspace and a report for runs of this suite, as code."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ivif.callbacks.wandb_run import start_wandb
from ivif.commands.errors import UsageError
from ivif.commands.report.files import refuse_others
from ivif.commands.report.sections import DETECTION, GROUPS, LEVELS
from ivif.files.whole import write_whole
from ivif.metrics.registry import METRICS

STEP: Final = "trainer/global_step"
WATCHED: Final = ("Qabf", "VIF", "SSIM", "EN", "SD", "SF", "AG")
"""Metrics of fusion that training runs watch, see configs/default.yaml."""

TERMS: Final = ("gradient", "intensity", "box", "class", "dfl", "classification", "bbox_regression", "bbox_ctrness")
"""Terms of the tasks with one level, torchvision's included; W&B's patterns cannot say `all but`."""

NAME: Final = "Infrared-visible fusion"
MISSING: Final = "W&B's workspaces are not installed: pip install -e '.[dashboards]'."


def report_workspace(project: str, entity: str, out: Path, save: bool = False, overwrite: bool = False) -> int:
    """Writes what W&B would be sent, and sends it only if asked to.

    Args:
        project: The project whose runs are shown.
        entity: Whose project.
        out: Folder of `workspace.json` and `report.json`.
        save: Create both online, which needs a key and a network.
        overwrite: Whether other files of these names may be replaced.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If `wandb-workspaces` is not installed, W&B refuses, or other files have these names.
    """
    if save:
        start_wandb()
    workspace, report = build_workspace(project, entity), build_report(project, entity)
    refuse_others([out / "workspace.json", out / "report.json"], overwrite)
    for name, definition in (("workspace", workspace), ("report", report)):
        model = definition._to_model()  # the only way to what `save` sends; tests/commands/test_report_workspace.py
        text = json.dumps(model.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2)
        write_whole(out / f"{name}.json", f"{text}\n")
        print(f"Definition: {out / f'{name}.json'}")
    if save:
        try:
            workspace.save()
            report.save()
        except Exception as error:  # of the network, of the server, of the key: the library has no common class
            raise UsageError(f"W&B did not take the workspace: {error}. Check `wandb login` and --entity.") from error
        print(f"Saved: {workspace.url} and {report.url}")
    return 0


def build_workspace(project: str, entity: str) -> Any:
    """A workspace whose sections follow the names that runs log.

    Raises:
        UsageError: If `wandb-workspaces` is not installed.
    """
    workspaces = _library("workspaces")
    columns = [f"summary:val/{name}" for name in (*WATCHED[:3], "mAP50_95")]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=_sections(),
        settings=workspaces.WorkspaceSettings(x_axis=STEP, group_by_prefix="last"),
        runset_settings=workspaces.RunsetSettings(pinned_columns=[*columns, "config:seed_everything"]),
        auto_generate_panels=True,
    )


def build_report(project: str, entity: str) -> Any:
    """A report that compares all runs of a project: validation, pictures' scores, speed.

    Raises:
        UsageError: If `wandb-workspaces` is not installed.
    """
    reports = _library("reports.v2")

    def grid(*panels: Any) -> Any:
        # Without a project of its own a set of runs is that of the report; with one it would be asked for online.
        return reports.PanelGrid(runsets=[reports.Runset(groupby=["Group"])], panels=list(panels))

    scores = [f"test/{name}" for name in (*WATCHED[:3], "mAP50_95")]
    bars = [reports.BarPlot(title=name, metrics=[name], groupby="Group", groupby_rangefunc="stddev") for name in scores]
    rates = reports.ScatterPlot(title="Speed against Qabf", x="perf/pairs_per_second", y="val/Qabf")
    return reports.Report(
        entity=entity,
        project=project,
        title=NAME,
        description="Runs grouped by experiment. Arrows point to better; no single metric is a verdict.",
        blocks=[
            reports.TableOfContents(),
            reports.H1("Validation"),
            grid(*(_metric_plot(name) for name in (*WATCHED[:3], "mAP50_95"))),
            reports.H1("Test"),
            reports.P("Bars: means over the runs of an experiment; whiskers: one standard deviation."),
            grid(*bars),
            reports.H1("Speed and memory"),
            grid(rates, _plot("Peak memory (GiB) ↓", "perf/peak_memory_gb")),
        ],
    )


def _library(name: str) -> Any:
    """A module of `wandb-workspaces`, which is imported for this command alone."""
    try:
        return import_module(f"wandb_workspaces.{name}")
    except ImportError as error:
        raise UsageError(MISSING) from error


def _sections() -> list[Any]:
    workspaces = _library("workspaces")

    def section(name: str, panels: list[Any], is_open: bool = False) -> Any:
        layout = workspaces.SectionLayoutSettings(columns=3, rows=2)
        return workspaces.Section(name=name, panels=panels, is_open=is_open, layout_settings=layout)

    return [
        section("Validation", [_metric_plot(name) for name in (*DETECTION, *WATCHED)], is_open=True),
        section("Validation per dataset", [_family(name, rf"val/[^/]+/{name}") for name in WATCHED[:3]]),
        section(
            "Training",
            [
                _plot("Loss ↓", "train/loss"),
                _family("Terms, before weighting ↓", f"train/({'|'.join(TERMS)})"),
                _family("Learning rates", "train/(.+/)?learning_rate.*"),
                _family("Gradient norms, before clipping", "train/(.+/)?gradient_norm"),
                _family("Phase, batches and steps left out", "train/(phase|skipped_batches|(.*/)?overflowed_steps)"),
            ],
            is_open=True,
        ),
        *(section(title, [_family("Loss and terms ↓", rf"train/{name}/.+")]) for name, title in LEVELS.items()),
        *(section(title, [_family(title, rf"train/{name}/.+")]) for name, title in GROUPS.items()),
        section(
            "Speed and memory",
            [
                _plot("Pairs per second ↑", "perf/pairs_per_second"),
                _plot("Share of the time that waits for data ↓", "perf/data_share"),
                _plot("Peak memory (GiB) ↓", "perf/peak_memory_gb"),
            ],
        ),
    ]


def _plot(title: str, name: str) -> Any:
    reports = _library("reports.v2")
    return reports.LinePlot(title=title, x=STEP, y=[name], title_x="step")


def _family(title: str, pattern: str) -> Any:
    reports = _library("reports.v2")
    return reports.LinePlot(title=title, x=STEP, metric_regex=f"^{pattern}$", title_x="step")


def _metric_plot(name: str) -> Any:
    arrow = "↑" if name in DETECTION or METRICS[name].higher_is_better else "↓"
    return _plot(f"{name} {arrow}", f"val/{name}")
