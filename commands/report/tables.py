"""Tables and a figure of scores: CSV, Markdown, LaTeX and box plots."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from ivif.callbacks.trained_pairs import OVERALL
from ivif.commands.report.files import save_figure
from ivif.files.names import printable
from ivif.files.table_files import write_table
from ivif.files.text_output import label, markdown
from ivif.files.text_tables import Best, Second, TextTable, sizes_text
from ivif.files.whole import write_whole
from ivif.metrics.conventions import CONVENTIONS
from ivif.metrics.registry import METRICS, with_direction

COLUMNS = ("method", "name", "convention", "metric", "value", "dataset", "width", "height")
"""Columns of `per_image.csv`."""

FILES: Final = ("per_image.csv", "summary.csv", "summary.md", "summary.tex", "figure.png")
"""What `write_tables` writes."""

BLOCK: Final = ["dataset", "convention", "metric"]
"""Columns of which a method has one row for each value."""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Statistics of every dataset, method, convention and metric over the images where the metric is defined.

    Args:
        scores: Columns `COLUMNS`; NaN: undefined. Names of several datasets differ.

    Returns:
        Columns dataset, convention, metric, direction, method, n, images, size, mean, std (sample), median, rank (1:
        best mean, as it is shown). A mean over fewer images than there are where any method is defined has no rank.
        Of several datasets `OVERALL` stands for all of them.
    """
    if scores["dataset"].nunique() > 1:
        scores = pd.concat([scores, scores.assign(dataset=OVERALL)])
    groups = scores.groupby([*BLOCK, "method"], sort=False)
    statistics = groups["value"].agg(n="count", images="size", mean="mean", std="std", median="median")
    found = [sizes_text(zip(own["width"], own["height"], strict=True)) for _, own in groups[["width", "height"]]]
    statistics.insert(2, "size", found)
    defined = scores.dropna(subset="value").groupby(BLOCK)["name"].nunique().rename("defined")
    table = statistics.reset_index().merge(defined.reset_index(), on=BLOCK, how="left")
    upward = table["metric"].map(lambda metric: METRICS[metric].higher_is_better)
    table.insert(3, "direction", upward.map({True: "higher", False: "lower"}))
    table["rank"] = ranks(table.assign(mean=table["mean"].where(table["n"] == table["defined"])))
    return table.drop(columns="defined")


def ranks(table: pd.DataFrame) -> pd.Series:
    """The place of each mean among those of its block, as it is shown; 1 is best.

    Args:
        table: Columns `BLOCK`, direction, mean (NaN: has no rank).
    """
    shown = table["mean"].map(lambda mean: float(number(mean)) if pd.notna(mean) else mean)
    compared = shown.where(table["direction"] == "lower", -shown)
    return compared.groupby([table[name] for name in BLOCK]).rank(method="min")


def write_tables(scores: pd.DataFrame, counted: Sequence[str], problems: Sequence[str], out: Path) -> pd.DataFrame:
    """Writes `FILES` into `out`; returns the summary.

    Args:
        scores: Columns `COLUMNS`.
        counted: Which pairs were scored, and a line for each method that is not in the tables.
        problems: A line for whatever was left out.
        out: The folder.
    """
    summary = summarise(scores)
    write_table(scores, out / "per_image.csv", undefined="nan")
    write_table(summary, out / "summary.csv", undefined="nan")
    write_whole(out / "summary.md", _markdown(summary, counted, problems))
    write_whole(out / "summary.tex", _latex(summary, counted))
    save_figure(box_plots(scores), out / "figure.png", dpi=120)
    return summary


def show_means(summary: pd.DataFrame, console: Console) -> None:
    """Prints the means of every dataset and convention, metrics as rows so that they fit a terminal."""
    for (dataset, convention), rows in summary.groupby(["dataset", "convention"], sort=False):
        found = [
            [with_direction(str(metric)), *_marked(own, lambda row: number(row["mean"]))]
            for metric, own in rows.groupby("metric", sort=False)
        ]
        first = rows.drop_duplicates("method")
        same = first[["images", "size"]].drop_duplicates()
        if len(same) > 1:
            found += [[title, *map(str, first[name])] for title, name in (("pairs", "images"), ("size", "size"))]
        over = f" over {same['images'].iloc[0]} pairs, {same['size'].iloc[0]}" if len(same) == 1 else ""
        columns = ["metric", *map(str, first["method"])]
        TextTable(columns, found, f"{dataset}: means{over}, convention '{convention}'").show(console)


def score_table(
    rows: pd.DataFrame,
    kind: Callable[[Any], str],
    second: bool = False,
    titles: Callable[[str], str] = with_direction,
) -> TextTable:
    """Methods as rows, metrics as columns of what `kind` says of each, the best marked; number and size of images."""
    columns = [_marked(own, kind, second) for _, own in rows.groupby("metric", sort=False)]
    first = rows.drop_duplicates("method")
    places = [list(map(str, first[name])) for name in ("method", "images", "size")]
    metrics = map(titles, dict.fromkeys(rows["metric"]))
    return TextTable(["method", "n", "size", *metrics], list(zip(*places, *columns, strict=True)))


def _marked(rows: pd.DataFrame, kind: Callable[[Any], str], second: bool = False) -> list[str]:
    """A metric of every method, with `n` where it is undefined on some images; the best of several marked."""
    marks: dict[float, type[str]] = {1.0: Best} | ({2.0: Second} if second else {})
    several = rows["rank"].count() > 1
    cells = []
    for row in rows.to_dict("records"):
        text = kind(row) if row["n"] == row["images"] else f"{kind(row)} (n={row['n']})"
        cells.append(marks.get(row["rank"], str)(text) if several else text)
    return cells


def _markdown(summary: pd.DataFrame, counted: Sequence[str], problems: Sequence[str]) -> str:
    blocks = ["# Scores", *map(markdown, counted)]
    for (dataset, convention), rows in summary.groupby(["dataset", "convention"], sort=False):
        blocks += [
            f"## Convention `{convention}`, {markdown(dataset)}",
            CONVENTIONS[str(convention)].summary,
            "Mean ± standard deviation (rank); the best of each metric is bold:",
            score_table(rows, lambda row: with_rank(spread(row), row["rank"])).markdown(),
            "Median:",
            score_table(rows.assign(rank=math.nan), lambda row: number(row["median"])).markdown(),
        ]
    listed = "\n".join(f"- {markdown(problem)}" for problem in problems)
    blocks += ["## Left out or resized", listed] if problems else ["Nothing was left out."]
    return "\n\n".join(blocks) + "\n"


def _latex(summary: pd.DataFrame, counted: Sequence[str]) -> str:
    needs = "needs \\usepackage{booktabs}; best mean bold, second underlined; (n=...): defined on so many images"
    blocks = ["\n".join(f"% {printable(line)}" for line in (needs, *counted))]
    for (dataset, convention), rows in summary.groupby(["dataset", "convention"], sort=False):
        about = f"% {printable(dataset)}, convention {convention}: {CONVENTIONS[str(convention)].summary}"
        blocks.append(f"{about}\n{score_table(rows, spread, second=True).latex()}")
    return "\n\n".join(blocks) + "\n"


def with_rank(text: str, rank: float) -> str:
    """A cell with its rank in brackets."""
    return text if math.isnan(rank) else f"{text} ({int(rank)})"


def spread(row: Any) -> str:
    """Mean ± standard deviation of a row of a summary."""
    # one image has no spread
    return number(row["mean"]) if pd.isna(row["std"]) else f"{number(row['mean'])} ± {number(row['std'])}"


def number(value: float) -> str:
    """A value in four digits."""
    return "-" if pd.isna(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def box_plots(scores: pd.DataFrame) -> Figure:
    """A box for each method over its images, in a panel for each convention and metric."""
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
