"""Whether rows of a study differ on the pictures that both were tested on by more than chance."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pandas as pd

from ivif.callbacks.tables import MEAN
from ivif.callbacks.trained_pairs import OVERALL
from ivif.commands.study.table_boxes import StudyBoxes
from ivif.commands.study.table_scores import GROUP, with_overall
from ivif.metrics.detection_comparison import exchange_test
from ivif.metrics.detection_threshold import Matches

PairedTest = Callable[[str, str, str, str], tuple[int, float]]
"""Of a dataset, convention, metric and row: how many pictures it and the reference row share, and p; `UNKNOWN`."""

UNKNOWN: Final = (0, float("nan"))
"""Where nothing can be paired."""


def signed_rank_tests(pictures: pd.DataFrame, reference: str) -> PairedTest:
    """Wilcoxon's signed-rank test, two-sided, of a value of each picture (`of_pictures`)."""
    paired = _by_picture(pictures)

    def test(*place: str) -> tuple[int, float]:
        return _signed_rank(paired.get(place), paired.get((*place[:-1], reference)))

    return test


def _by_picture(pictures: pd.DataFrame) -> dict[tuple[Any, ...], "pd.Series[float]"]:
    """Block and method -> value by picture."""
    values = with_overall(pictures.assign(place=pictures["dataset"] + "/" + pictures["name"]))
    return {key: own.set_index("place")["value"].dropna() for key, own in values.groupby(GROUP, sort=False)}


def _signed_rank(mine: "pd.Series[float] | None", other: "pd.Series[float] | None") -> tuple[int, float]:
    """How many pictures both have, and the p value of Wilcoxon's test; NaN without pictures."""
    if mine is None or other is None:
        return UNKNOWN
    both = pd.concat([mine, other], axis=1, join="inner")
    apart = (both.iloc[:, 0] - both.iloc[:, 1]).to_numpy()
    if not len(apart):
        return UNKNOWN
    if not apart.any():
        return len(apart), 1.0
    from scipy.stats import wilcoxon  # takes long to import

    return len(apart), float(wilcoxon(apart).pvalue)


def exchange_tests(boxes: StudyBoxes, reference: str) -> PairedTest:
    """Compares average precision at IoU .5 by exchanging the detections of two rows in pictures chosen at random."""

    @cache
    def matches(row: str, seed: int) -> dict[tuple[str, str], Matches]:
        return boxes.found[row, seed].matches()

    @cache
    def compared(dataset: str, method: str) -> tuple[int, dict[str, float]]:
        seeds = [seed for row, seed in boxes.found if row == method and (reference, seed) in boxes.found]
        pairs = [(matches(method, seed), matches(reference, seed)) for seed in seeds]
        whole = [key for key in (pairs[0][0] if pairs else ()) if dataset in (key[0], OVERALL)]
        named = {boxes.found[row, seed].class_names for seed in seeds for row in (method, reference)}
        if len(named) != 1 or not all(key in own for pair in pairs for own in pair for key in whole):
            return 0, {}
        (classes,) = named
        first, second = ([[pair[side][key] for key in whole] for pair in pairs] for side in (0, 1))
        return len(whole), dict(zip((MEAN, *classes), exchange_test(first, second, len(classes)), strict=True))

    def test(dataset: str, convention: str, metric: str, method: str) -> tuple[int, float]:
        if convention != "AP50":
            return UNKNOWN
        count, found = compared(dataset, method)
        return (count, found[metric]) if metric in found else UNKNOWN

    return test
