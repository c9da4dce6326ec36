"""What a run logged: its table, the line charts of a page, and a figure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from ivif.commands.errors import UsageError
from ivif.contracts.run_files import LOG

WIDTH: Final = 460
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 36
"""Margins of the plotting area, in the chart's own units."""

MOST_POINTS: Final = 300
"""Points of a line; what is denser is averaged."""

LOG_RATIO: Final = 50.0
"""From this ratio of largest to smallest value on, a chart has a logarithmic axis."""

SMOOTHING: Final = 15
"""Most logged losses that are averaged into one point of a figure's thick line: a tenth of them, in short runs."""

METRICS: Final = ("Qabf", "VIF", "SSIM")
"""Validation metrics that a figure shows, where they were logged."""


def read_log(run: Path) -> pd.DataFrame:
    """The rows of `metrics.csv`, one column per logged name and `step`.

    Raises:
        UsageError: If the run logged nothing, or the file is no log.
    """
    path = run / LOG
    if not path.is_file():
        raise UsageError(f"'{path}' is missing. Give the folder of a training run.")
    try:
        rows = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is no log: {error}. Give the folder of a training run.") from error
    if "step" not in rows:
        raise UsageError(f"'{path}' has no column 'step'. Give the folder of a training run.")
    if texts := [str(name) for name, column in rows.items() if not pd.api.types.is_numeric_dtype(column)]:
        raise UsageError(f"'{path}' is damaged: {', '.join(texts[:3])} holds text. Restore it, or remove those rows.")
    return rows


@dataclass(frozen=True)
class Series:
    """One line: its name, and its values at steps, both finite and of one length."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    position: float
    label: str


@dataclass(frozen=True)
class Line:
    """A drawn series."""

    name: str
    last: str
    points: str
    dots: Sequence[tuple[float, float]]


@dataclass
class Chart:
    """Some series over the steps, with a title and a unit.

    Args:
        title: What is shown, with an arrow where one direction is better.
        series: The lines.
        note: Full name, or unit.
    """

    title: str
    series: Sequence[Series]
    note: str = ""
    lines: list[Line] = field(init=False)
    x_ticks: list[Tick] = field(init=False)
    y_ticks: list[Tick] = field(init=False)
    logarithmic: bool = field(init=False)

    def __post_init__(self) -> None:
        """Places lines and ticks."""
        values = [value for series in self.series for value in series.values]
        steps = [step for series in self.series for step in series.steps]
        self.logarithmic = min(values) > 0 and max(values) / min(values) >= LOG_RATIO
        y_ticks, low, high = _axis(min(values), max(values), self.logarithmic)
        x_ticks, first, final = _axis(min(steps), max(steps), logarithmic=False, tight=True)
        place_x = _scale(first, final, LEFT, WIDTH - RIGHT)
        across = math.log10 if self.logarithmic else float
        place_y = _scale(across(low), across(high), HEIGHT - BOTTOM, TOP)
        self.x_ticks = [Tick(place_x(tick), label) for tick, label in zip(x_ticks, _labels(x_ticks), strict=True)]
        labels = map(short, y_ticks) if self.logarithmic else _labels(y_ticks)
        self.y_ticks = [Tick(place_y(across(tick)), label) for tick, label in zip(y_ticks, labels, strict=True)]
        self.lines = [_line(series, place_x, lambda value: place_y(across(value))) for series in self.series]

    @property
    def summary(self) -> str:
        """The chart in a sentence, for those who do not see it."""
        told = [f"{s.name} from {short(s.values[0])} to {short(s.last)}" for s in self.series]
        return f"{self.title}, steps {short(self.series[0].steps[0])} to {short(self.series[0].steps[-1])}: " + (
            "; ".join(told) + "."
        )


def draw_curves(log: pd.DataFrame, metrics: Sequence[str] = METRICS) -> Figure:
    """The training loss (thin as logged, thick averaged) and the validation metrics over the steps, side by side.

    Args:
        log: From `read_log`.
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


def series_of(log: pd.DataFrame, column: str, name: str) -> Series | None:
    """The finite values of a column; None where it has none."""
    rows = log[["step", column]].apply(pd.to_numeric, errors="coerce")
    rows = rows[rows[column].map(math.isfinite) & rows["step"].notna()]
    rows = rows.groupby("step", as_index=False).last()
    if rows.empty:
        return None
    return Series(name, rows["step"].tolist(), rows[column].tolist())


def short(value: float) -> str:
    """A number as people read it: four significant digits, no needless zeros."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def _labels(ticks: Sequence[float]) -> list[str]:
    """Ticks at equal distances, with the digits that tell them apart."""
    distance = ticks[1] - ticks[0] if len(ticks) > 1 else 0.0
    if not 1e-5 <= distance < 1:
        return [short(tick) for tick in ticks]
    digits = next(count for count in range(1, 7) if math.isclose(round(distance, count), distance, rel_tol=1e-6))
    return [f"{tick:.{digits}f}" if round(tick, digits) else "0" for tick in ticks]


def _axis(low: float, high: float, logarithmic: bool, tight: bool = False) -> tuple[list[float], float, float]:
    """Ticks, and the range that the axis covers."""
    if logarithmic:
        inside: list[float] = []
        for between in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            ticks = [float(tick) for tick in LogLocator(subs=between, numticks=6).tick_values(low, high)]
            inside = [tick for tick in ticks if low <= tick <= high]
            if len(inside) >= 3:
                break
        return inside, low, high
    if low == high and tight:
        return [low], low - 1, high + 1
    if low == high:
        low, high = (0.9 * low, 1.1 * low) if low > 0 else (1.1 * low, 0.9 * low) if low else (0.0, 1.0)
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, integer=tight).tick_values(low, high)]
    if tight:
        return [tick for tick in ticks if low <= tick <= high], low, high
    return ticks, min(low, ticks[0]), max(high, ticks[-1])


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: round(start + (end - start) * (value - low) / span, 1)


def _line(series: Series, place_x: Callable[[float], float], place_y: Callable[[float], float]) -> Line:
    every = math.ceil(len(series.values) / MOST_POINTS)
    steps = pd.Series(series.steps).groupby(lambda row: row // every).mean()
    values = pd.Series(series.values).groupby(lambda row: row // every).mean()
    places = [(place_x(step), place_y(value)) for step, value in zip(steps, values, strict=True)]
    dots = places if len(places) <= 25 else places[-1:]
    return Line(series.name, short(series.last), " ".join(f"{x},{y}" for x, y in places), dots)
