"""`main.py report curves`: what a run logged, as a table and as a figure."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from commands.errors import UsageError

SMOOTHING = 15
"""Logged losses averaged into one point of the thick line."""

METRICS = ("Qabf", "VIF", "SSIM")
"""Validation metrics that are drawn, where they were logged."""


def curves(run: Path, out: Path, metrics: tuple[str, ...] = METRICS) -> int:
    """Draws the training loss and the validation metrics of a run over its steps.

    Args:
        run: A run folder.
        out: The PNG to write.
        metrics: Validation metrics to draw, where they were logged.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If the run logged no training loss.
    """
    figure = draw_curves(read_log(run), metrics)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    print(f"Curves: {out}")
    return 0


def read_log(run: Path) -> pd.DataFrame:
    """Everything that a training run logged, from its first step on: one row per logging call, NaN where it is silent.

    Args:
        run: A run folder.

    Raises:
        UsageError: If the folder has no log, or one without a training loss.
    """
    path = run / "metrics.csv"
    if not path.is_file():
        raise UsageError(f"'{path}' is missing. Give the folder of a training run.")
    earlier = sorted(run.glob("metrics-before-resume-*.csv"))
    log = pd.concat([pd.read_csv(file) for file in (*earlier, path)], ignore_index=True)
    if "train/loss" not in log:
        raise UsageError(f"'{path}' holds no 'train/loss'. Give the folder of a training run.")
    return log


def draw_curves(log: pd.DataFrame, metrics: tuple[str, ...] = METRICS) -> Figure:
    """The training loss (thin as logged, thick averaged) and the validation metrics over the steps, side by side.

    Args:
        log: From `read_log`.
        metrics: Validation metrics to draw, where they were logged.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = log[["step", "train/loss"]].dropna()
    left.plot(loss["step"], loss["train/loss"], color="0.75", linewidth=0.6)
    left.plot(loss["step"], loss["train/loss"].rolling(SMOOTHING, min_periods=1).mean(), color="C0")
    left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    for metric in metrics:
        if f"val/{metric}" in log:
            values = log[["step", f"val/{metric}"]].dropna()
            right.plot(values["step"], values[f"val/{metric}"], marker="o", markersize=3, label=metric)
    if right.lines:
        right.legend()
    right.set(xlabel="step", ylabel="validation")
    return figure
