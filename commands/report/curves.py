"""`ivif report curves`: what a run logged, as a table and as a figure."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ivif.commands.errors import UsageError
from ivif.commands.report.files import refuse_others, save_figure
from ivif.commands.report.run_log import read_log

SMOOTHING = 15
"""Most logged losses that are averaged into one point of the thick line: a tenth of them, in short runs."""

METRICS = ("Qabf", "VIF", "SSIM")
"""Validation metrics that are drawn, where they were logged."""


def curves(run: Path, out: Path, metrics: Sequence[str] = METRICS, overwrite: bool = False) -> int:
    """Draws the training loss and the validation metrics of a run over its steps.

    Args:
        run: A run folder.
        out: The PNG to write.
        metrics: Validation metrics to draw, where they were logged.
        overwrite: Whether `out` may be replaced if it is no report.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If the run logged no training loss, or `out` is another file.
    """
    refuse_others([out], overwrite)
    figure = draw_curves(read_log(run), metrics)
    save_figure(figure, out, dpi=110)
    print(f"Curves: {out}")
    return 0


def draw_curves(log: pd.DataFrame, metrics: Sequence[str] = METRICS) -> Figure:
    """The training loss (thin as logged, thick averaged) and the validation metrics over the steps, side by side.

    Args:
        log: From `ivif.commands.report.run_log.read_log`.
        metrics: Validation metrics to draw, where they were logged.

    Raises:
        UsageError: If there is no training loss in it.
    """
    if "train/loss" not in log:
        raise UsageError(
            "The log holds no 'train/loss'. Give the folder of a training run that is longer than its "
            "trainer.log_every_n_steps."
        )
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = log[["step", "train/loss"]].dropna()
    left.plot(loss["step"], loss["train/loss"], color="0.75", linewidth=0.6)
    window = max(1, min(SMOOTHING, len(loss) // 10))
    smooth = loss["train/loss"].rolling(window, min_periods=1, center=True).mean()
    left.plot(loss["step"], smooth, color="C0")
    left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    for metric in metrics:
        if f"val/{metric}" in log:
            values = log[["step", f"val/{metric}"]].dropna()
            right.plot(values["step"], values[f"val/{metric}"], marker="o", markersize=3, label=metric)
    if right.lines:
        for text in right.legend().get_texts():
            text.set_parse_math(False)
    right.set(xlabel="step", ylabel="validation")
    return figure
