"""Tables and a figure of scores: CSV, Markdown, LaTeX and box plots."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from ivif.commands.report.files import save_figure
from ivif.files.table_files import Best, Second, TextTable, write_table
from ivif.files.text_output import label, markdown
from ivif.files.whole import write_whole
from ivif.metrics.conventions import CONVENTIONS
from ivif.metrics.registry import METRICS, with_direction

COLUMNS = ("method", "name", "convention", "metric", "value")
"""Columns of `per_image.csv`."""

FILES: Final = ("per_image.csv", "summary.csv", "summary.md", "summary.tex", "figure.png")
"""What `write_tables` writes."""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Statistics of every method, convention and metric over the images where the metric is defined.

    Args:
        scores: Columns `COLUMNS`; NaN: undefined.

    Returns:
        Columns convention, metric, direction, method, n, images, mean, std (sample), median, rank (1: best mean).
    """
    groups = scores.groupby(["convention", "metric", "method"], sort=False)["value"]
    table = groups.agg(n="count", images="size", mean="mean", std="std", median="median").reset_index()
    upward = table["metric"].map(lambda metric: METRICS[metric].higher_is_better)
    signed = table["mean"].where(~upward, -table["mean"])
    table["rank"] = signed.groupby([table["convention"], table["metric"]]).rank(method="min")
    table.insert(2, "direction", upward.map({True: "higher", False: "lower"}))
    return table


def write_tables(scores: pd.DataFrame, problems: Sequence[str], out: Path) -> pd.DataFrame:
    """Writes `FILES` into `out`; returns the summary."""
    summary = summarise(scores)
    write_table(scores, out / "per_image.csv", undefined="nan")
    write_table(summary, out / "summary.csv", undefined="nan")
    write_whole(out / "summary.md", _markdown(summary, problems))
    write_whole(out / "summary.tex", _latex(summary))
    save_figure(_box_plots(scores), out / "figure.png", dpi=120)
    return summary


def show_means(summary: pd.DataFrame, console: Console) -> None:
    """Prints the means of every convention, metrics as rows so that they fit a terminal."""
    for convention, rows in summary.groupby("convention", sort=False):
        found = [
            [str(metric), *(_ranked(_number(mean), rank) for mean, rank in zip(own["mean"], own["rank"], strict=True))]
            for metric, own in rows.groupby("metric", sort=False)
        ]
        columns = ["metric", *dict.fromkeys(map(str, rows["method"]))]
        TextTable(columns, found, f"means, convention '{convention}' (rank)").show(console)


def _table(rows: pd.DataFrame, kind: Callable[[Any], str], *more: str) -> TextTable:
    """Methods as rows, metrics as columns of what `kind` says of each; before those the columns `more`."""
    metrics = list(dict.fromkeys(rows["metric"]))
    cells = [
        [str(method), *(str(own[name].iloc[0]) for name in more), *(kind(row) for row in own.to_dict("records"))]
        for method, own in rows.groupby("method", sort=False)
    ]
    return TextTable(["method", *more, *map(with_direction, metrics)], cells)


def _markdown(summary: pd.DataFrame, problems: Sequence[str]) -> str:
    blocks = ["# Scores"]
    for convention, rows in summary.groupby("convention", sort=False):
        blocks += [
            f"## Convention `{convention}`",
            CONVENTIONS[str(convention)].summary,
            "Mean ± standard deviation (rank):",
            _table(rows, lambda row: _ranked(_spread(row), row["rank"]), "images").markdown(),
            "Median (images on which the metric is defined):",
            _table(rows, lambda row: f"{_number(row['median'])} ({row['n']})").markdown(),
        ]
    left_out = "\n".join(f"- {markdown(problem)}" for problem in problems)
    return "\n\n".join([*blocks, *(["## Left out", left_out] if problems else ["Nothing was left out."])]) + "\n"


def _latex(summary: pd.DataFrame) -> str:
    marks: dict[float, type[str]] = {1.0: Best, 2.0: Second}
    blocks = ["% needs \\usepackage{booktabs}; best mean bold, second underlined"]
    for convention, rows in summary.groupby("convention", sort=False):
        table = _table(rows, lambda row: marks.get(row["rank"], str)(_spread(row)))
        blocks.append(f"% convention {convention}: {CONVENTIONS[str(convention)].summary}\n{table.latex()}")
    return "\n\n".join(blocks) + "\n"


def _ranked(text: str, rank: float) -> str:
    ranked = text if math.isnan(rank) else f"{text} ({int(rank)})"
    return Best(ranked) if rank == 1 else ranked


def _spread(row: Any) -> str:
    # one image has no spread
    return _number(row["mean"]) if pd.isna(row["std"]) else f"{_number(row['mean'])} ± {_number(row['std'])}"


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _box_plots(scores: pd.DataFrame) -> Figure:
    panels = list(scores.groupby(["convention", "metric"], sort=False))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    methods = list(dict.fromkeys(scores["method"]))
    figure = Figure(figsize=(3.4 * columns, (2.0 + 0.18 * len(methods)) * rows), layout="constrained")
    for position, (key, values) in enumerate(panels, start=1):
        convention, metric = map(str, key if isinstance(key, tuple) else (key, ""))
        axes = figure.add_subplot(rows, columns, position)
        boxes = [values.loc[values["method"] == method, "value"].dropna().to_numpy() for method in methods]
        axes.boxplot(boxes, orientation="horizontal", flierprops={"markersize": 3})
        axes.set_yticks(range(1, len(methods) + 1), list(map(label, methods)), fontsize=7, parse_math=False)
        axes.invert_yaxis()
        axes.set_title(f"{with_direction(metric)} ({convention})", fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
    return figure
