"""Tables and a figure of scores: CSV, Markdown, LaTeX and box plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from ivif.commands.report.files import save_figure
from ivif.files.table_files import write_table
from ivif.files.text_output import label, latex, markdown
from ivif.files.whole import write_whole
from ivif.metrics.conventions import CONVENTIONS
from ivif.metrics.registry import METRICS

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
    write_whole(out / "summary.md", _markdown(summary, problems).encode())
    write_whole(out / "summary.tex", _latex(summary).encode())
    save_figure(_box_plots(scores), out / "figure.png", dpi=120)
    return summary


def _blocks(summary: pd.DataFrame) -> list[tuple[str, list[str], pd.DataFrame]]:
    return [
        (str(convention), list(dict.fromkeys(rows["metric"])), rows.set_index(["method", "metric"]))
        for convention, rows in summary.groupby("convention", sort=False)
    ]


def _markdown(summary: pd.DataFrame, problems: Sequence[str]) -> str:
    lines = ["# Scores", ""]
    for convention, metrics, rows in _blocks(summary):
        arrows = [f"{metric} {_arrow(metric)}" for metric in metrics]
        methods = list(dict.fromkeys(rows.index.get_level_values(0)))
        lines += [f"## Convention `{convention}`", "", CONVENTIONS[convention].summary, ""]
        lines += ["Mean ± standard deviation (rank):", "", *_markdown_head(["method", "images", *arrows])]
        for method in methods:
            cells = [_markdown_cell(rows.loc[(method, metric)]) for metric in metrics]
            lines.append(_markdown_row([markdown(method), str(rows.loc[(method, metrics[0]), "images"]), *cells]))
        lines += ["", "Median (images on which the metric is defined):", "", *_markdown_head(["method", *arrows])]
        for method in methods:
            cells = [f"{_number(rows.loc[(method, m), 'median'])} ({rows.loc[(method, m), 'n']})" for m in metrics]
            lines.append(_markdown_row([markdown(method), *cells]))
        lines.append("")
    lines += (
        ["## Left out", "", *(f"- {markdown(problem)}" for problem in problems)]
        if problems
        else ["Nothing was left out."]
    )
    return "\n".join(lines) + "\n"


def _markdown_head(columns: Sequence[str]) -> list[str]:
    return [_markdown_row(columns), "|---" * len(columns) + "|"]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_cell(row: Any) -> str:
    text = _spread(row, " ± ")
    if pd.isna(row["rank"]):
        return text
    return f"**{text} (1)**" if row["rank"] == 1 else f"{text} ({int(row['rank'])})"


def _latex(summary: pd.DataFrame) -> str:
    lines = ["% needs \\usepackage{booktabs}; best mean bold, second underlined"]
    for convention, metrics, rows in _blocks(summary):
        heads = " & ".join(f"{latex(metric)} ${_latex_arrow(metric)}$" for metric in metrics)
        lines += ["", f"% convention {convention}: {CONVENTIONS[convention].summary}"]
        lines += [f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}", "\\toprule", f"Method & {heads} \\\\", "\\midrule"]
        for method in dict.fromkeys(rows.index.get_level_values(0)):
            cells = " & ".join(_latex_cell(rows.loc[(method, metric)]) for metric in metrics)
            lines.append(f"{latex(method)} & {cells} \\\\")
        lines += ["\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_cell(row: Any) -> str:
    text = _spread(row, " $\\pm$ ")
    return {1.0: f"\\textbf{{{text}}}", 2.0: f"\\underline{{{text}}}"}.get(float(row["rank"]), text)


def _spread(row: Any, joint: str) -> str:
    # one image has no spread
    return _number(row["mean"]) if pd.isna(row["std"]) else f"{_number(row['mean'])}{joint}{_number(row['std'])}"


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _arrow(metric: str) -> str:
    return "↑" if METRICS[metric].higher_is_better else "↓"


def _latex_arrow(metric: str) -> str:
    return "\\uparrow" if METRICS[metric].higher_is_better else "\\downarrow"


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
        axes.set_title(f"{metric} {_arrow(metric)} ({convention})", fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
    return figure
