"""`main.py report curves`: what a run logged, as a figure."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from matplotlib import pyplot

from commands.errors import UsageError

SMOOTHING = 15
"""Logged losses averaged into one point of the thick line."""


def curves(run: Path, out: Path, metrics: tuple[str, ...] = ("Qabf", "VIF", "SSIM")) -> int:
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
    path = run / "metrics.csv"
    if not path.is_file():
        raise UsageError(f"'{path}' is missing. Give the folder of a training run.")
    earlier = sorted(run.glob("metrics-before-resume-*.csv"))
    log = pd.concat([pd.read_csv(file) for file in (*earlier, path)], ignore_index=True)
    if "train/loss" not in log:
        raise UsageError(f"'{path}' holds no 'train/loss'. Give the folder of a training run.")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
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
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
    print(f"Curves: {out}")
    return 0
