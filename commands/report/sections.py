"""Which charts a report has, from the names that a run logged."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from ivif.commands.report.charts import Chart, Series, series_of, short
from ivif.metrics.registry import METRICS

LEVELS: Final = {
    "lower": "Lower level: fusion",
    "upper": "Upper level: detection",
    "value": "Value level: the copy of fusion that the value function follows",
}
"""Titles of the levels of a bilevel scheme."""

GROUPS: Final = {"bilevel": "Bilevel scheme", "codebook": "Codebook", "content": "Content loss", "prompts": "Prompts"}
"""Titles of what tasks note beside their losses."""

DETECTION: Final = {
    "mAP50": "mean average precision at IoU .5",
    "mAP50_95": "mean average precision, IoU .5 to .95",
    "precision": "at the score with the best F1",
    "recall": "at the score with the best F1",
}
"""Scores of detection, all of them better high."""

UNITS: Final = {
    "perf/pairs_per_second": ("Throughput ↑", "pairs per second", 1.0),
    "perf/data_share": ("Waiting for data ↓", "% of the time", 100.0),
    "perf/peak_memory_gb": ("Peak memory ↓", "GiB", 1.0),
}
"""Name -> title, unit, factor."""

ONE_LEVEL: Final = re.compile("train/([^/]+|learning_rate/[^/]+)")
"""Names of a task with one level; an optimiser with several groups of weights has a learning rate for each."""

APART: Final = ("learning_rate", "gradient_norm")
"""Values of a level that have charts of their own, beside its losses."""


@dataclass(frozen=True)
class Section:
    """Charts under one heading."""

    title: str
    anchor: str
    charts: list[Chart]


@dataclass(frozen=True)
class Progress:
    """A metric of validation in a row: title, full name, first, best and last value, and the step of the best."""

    title: str
    note: str
    first: str
    best: str
    best_step: str
    last: str


def sections(log: pd.DataFrame) -> list[Section]:
    """Sections that have something to show: validation, training or its levels, what tasks noted, performance."""
    names = [str(name) for name in log.columns]
    shared = [name for name in names if re.fullmatch(ONE_LEVEL, name)]
    others = [name for name in names if name not in shared]
    found = [
        Section("Validation", "validation", _validation(log, names)),
        Section("Training", "training", _level(log, shared, "train/")),
    ]
    grouped = dict.fromkeys(match[1] for name in others if (match := re.match("train/([^/]+)/", name)))
    for level in [*(name for name in LEVELS if name in grouped), *(name for name in grouped if name not in LEVELS)]:
        own = [name for name in names if name.startswith(f"train/{level}/")]
        if level in LEVELS:
            found.append(Section(LEVELS[level], level, _level(log, own, f"train/{level}/")))
        else:
            found.append(Section(GROUPS.get(level, _plain(level)), level, _each(log, own)))
    found.append(Section("Speed and memory", "performance", _performance(log, names)))
    return [section for section in found if section.charts]


def progress(log: pd.DataFrame) -> list[Progress]:
    """First, best and last of each metric of validation over all images."""
    rows = []
    for name in _scored(map(str, log.columns)):
        series, up = series_of(log, f"val/{name}", name), _upward(name)
        if series is None or up is None:
            continue
        pick = max if up else min
        value, step = pick(zip(series.values, series.steps, strict=True), key=lambda pair: pair[0])
        rows.append(
            Progress(
                _title(name), _note(name), short(series.values[0]), short(value), short(step + 1), short(series.last)
            )
        )
    return rows


def _scored(names: Iterable[str]) -> list[str]:
    own = [name.removeprefix("val/") for name in names if re.fullmatch("val/[^/]+", name)]
    known = [name for name in (*DETECTION, *METRICS) if name in own]
    return known + [name for name in own if name not in known]


def _validation(log: pd.DataFrame, names: list[str]) -> list[Chart]:
    charts = []
    for metric in _scored(names):
        parts = [name for name in names if re.fullmatch(f"val/[^/]+/{re.escape(metric)}", name)]
        parts = [name for name in parts if not name.startswith("val/AP")]
        lines = {f"val/{metric}": "all images"} | {name: name.split("/")[1] for name in parts if len(parts) > 1}
        charts += _chart(_title(metric), _lines(log, lines), _note(metric))
    for score in ("AP50", "AP50_95"):
        lines = {name: name.split("/")[2] for name in names if re.fullmatch(f"val/{score}/[^/]+", name)}
        charts += _chart(f"{score.replace('_', '-')} of each class ↑", _lines(log, lines), "average precision")
    return charts


def _level(log: pd.DataFrame, names: list[str], prefix: str) -> list[Chart]:
    plain = {name.removeprefix(prefix): name for name in names}
    terms = {name: column for name, column in plain.items() if not name.startswith(APART) and name != "loss"}
    charts = _chart("Loss ↓", _lines(log, {plain["loss"]: "loss"} if "loss" in plain else {}), "weighted sum")
    if len(terms) > 1 or "loss" not in plain:
        charts += _chart(
            "Terms ↓",
            _lines(log, {column: name.replace("_", " ") for name, column in terms.items()}),
            "before weighting",
        )
    for kind in APART:
        lines = {column: name.replace("_", " ") for name, column in plain.items() if name.startswith(kind)}
        charts += _chart(_plain(kind), _lines(log, lines), "before clipping" if kind == "gradient_norm" else "")
    return charts


def _each(log: pd.DataFrame, names: list[str]) -> list[Chart]:
    return [chart for name in names for chart in _chart(_plain(name.rpartition("/")[2]), _lines(log, {name: name}), "")]


def _performance(log: pd.DataFrame, names: list[str]) -> list[Chart]:
    charts = []
    for name in (name for name in names if name.startswith("perf/")):
        title, unit, factor = UNITS.get(name, (_plain(name.rpartition("/")[2]), "", 1.0))
        scaled = [Series(s.name, s.steps, [factor * value for value in s.values]) for s in _lines(log, {name: name})]
        charts += _chart(title, scaled, unit)
    return charts


def _lines(log: pd.DataFrame, names: Mapping[str, str]) -> list[Series]:
    found = [series_of(log, column, name) for column, name in names.items() if column in log]
    return [series for series in found if series is not None]


def _chart(title: str, series: list[Series], note: str) -> list[Chart]:
    return [Chart(title, series, note)] if series else []


def _upward(name: str) -> bool | None:
    if name in DETECTION:
        return True
    return METRICS[name].higher_is_better if name in METRICS else None


def _title(name: str) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[_upward(name)]
    return f"{name.replace('mAP50_95', 'mAP50-95') if name in (*METRICS, *DETECTION) else _plain(name)}{arrow}"


def _note(name: str) -> str:
    return DETECTION.get(name) or (METRICS[name].title if name in METRICS else "")


def _plain(name: str) -> str:
    return name.replace("_", " ").capitalize()
