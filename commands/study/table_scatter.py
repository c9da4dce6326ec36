"""Accuracy against cost: a point for each row of a study, its size by the number of parameters."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from ivif.callbacks.tables import MEAN
from ivif.commands.errors import UsageError
from ivif.commands.study.table_statistics import DETECTION
from ivif.commands.study.table_texts import column
from ivif.files.text_output import label
from ivif.lightning_modules.efficiency import COLUMNS as COSTS


def draw_scatter(
    summary: pd.DataFrame, costs: Mapping[str, Mapping[str, str]], cost: str, accuracy: str | None = None
) -> Figure:
    """The figure, a panel for each dataset and convention that has the metric.

    Args:
        summary: Of all blocks.
        costs: Row -> `COSTS`.
        cost: Which of these is drawn to the right.
        accuracy: Which metric is drawn upwards; None: the mean AP of boxes where there are any, else the first metric.

    Raises:
        UsageError: If a name is unknown.
    """
    if cost not in COSTS[:-1]:
        raise UsageError(f"--cost {cost}: there is no such column, but {', '.join(COSTS[:-1])}.")
    boxes = summary[summary["convention"].isin(DETECTION)]
    metric = accuracy or (MEAN if len(boxes) else str(summary["metric"].iloc[0]))
    rows = summary[(summary["metric"] == metric) & summary["method"].isin(list(costs))]
    if rows.empty:
        known = ", ".join(map(str, summary["metric"].unique()))
        raise UsageError(f"--accuracy {metric}: no row has it. There are {known}.")
    panels = list(rows.groupby(["dataset", "convention"], sort=False))
    figure = Figure(figsize=(4.6 * len(panels), 3.6), layout="constrained")
    for place, ((dataset, convention), own) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for row in own.to_dict("records"):
            found = costs[row["method"]]
            across, parameters = float(found[cost]), float(found[COSTS[0]])
            axes.errorbar(across, row["mean"], yerr=row["std"] if row["std"] > 0 else None, color="0.6", zorder=1)
            axes.scatter(across, row["mean"], s=30 + 20 * parameters**0.5, alpha=0.75, zorder=2)
            axes.annotate(
                label(row["method"]),
                (across, row["mean"]),
                (0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                parse_math=False,
            )
        axes.set_xlabel(f"{cost} ↓ ({label(next(iter(costs.values()))[COSTS[-1]])})", fontsize=8, parse_math=False)
        axes.set_ylabel(f"{column(metric)} ({label(convention)})", fontsize=8, parse_math=False)
        axes.set_title(label(dataset), fontsize=9, parse_math=False)
        axes.margins(0.25)
        axes.grid(alpha=0.3)
    return figure
