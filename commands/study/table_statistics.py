"""Means over pictures and seeds, their spread over seeds, and which differences are more than that."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from ivif.callbacks.tables import MEAN
from ivif.commands.report.tables import BLOCK, COLUMNS, ranks, summarise
from ivif.commands.study.table_scores import GROUP, StudyScores, with_overall
from ivif.commands.study.table_tests import PairedTest

DETECTION: Final = ("AP50_95", "AP50")
"""What stands for a convention where boxes are scored."""

SUMMARY: Final = [*BLOCK, "direction", "method", "seeds", "n", "images", "size", "mean", "std", "rank"]
"""Columns of a summary."""


def fusion_summary(scores: StudyScores) -> pd.DataFrame:
    """The summary of `report score` of each picture's mean over the seeds, with the spread of the seeds' means.

    Returns:
        `SUMMARY`: as of `report.tables.summarise`, but `std` is the sample deviation of the seeds' means (NaN for one
        seed, 0 for what has none), beside `seeds`, their number (0: it has none).
    """
    pictures = of_pictures(scores)
    table = summarise(pictures)
    values = with_overall(scores.fusion)
    means = values.groupby([*GROUP, "seed"])["value"].mean()
    return _spread_over_seeds(table.drop(columns="std"), means, scores.kinds)


def of_pictures(scores: StudyScores) -> pd.DataFrame:
    """The mean over the seeds of each picture's value, with the columns of `report score`."""
    places = [name for name in COLUMNS if name not in ("value", "width", "height")]
    means = scores.fusion.groupby(places, sort=False, as_index=False).agg(
        value=("value", "mean"), width=("width", "first"), height=("height", "first")
    )
    return means[list(COLUMNS)]


def detection_summary(scores: StudyScores) -> pd.DataFrame:
    """The same of the scores of boxes: blocks `AP50_95` and `AP50`, whose metrics are `mean` and the classes.

    Precision and recall, which are at IoU .5, stand with the latter. Folds that were not joined are averaged.
    """
    long = _by_block(scores.boxes.scores)
    means = long.groupby([*GROUP, "seed"], sort=False)["value"].mean()
    table = means.groupby(GROUP, sort=False).mean().rename("mean").reset_index()
    per_fold = long.groupby(["dataset", "method", "seed", "fold"])["images"].first()
    images = per_fold.groupby(["dataset", "method", "seed"]).sum().groupby(["dataset", "method"]).max()
    table = table.merge(images.rename("images").reset_index(), on=["dataset", "method"])
    table = table.assign(n=table["images"], size="-", direction="higher")
    whole = table["images"] == table.groupby("dataset")["images"].transform("max")
    table["rank"] = ranks(table.assign(mean=table["mean"].where(whole)))
    return _spread_over_seeds(table, means, scores.kinds)


def _by_block(detection: pd.DataFrame) -> pd.DataFrame:
    """A row for each value of a class in a run, columns `GROUP`, value, images, seed, fold; the mean comes first."""
    parts = []
    for block in DETECTION:
        own = detection.assign(convention=block, metric=detection["class"], value=detection[block])
        parts += [own[own["class"] == MEAN], own[own["class"] != MEAN]]
    of_all = detection[detection["class"] == MEAN]
    parts += [of_all.assign(convention="AP50", metric=name, value=of_all[name]) for name in ("precision", "recall")]
    return pd.concat(parts, ignore_index=True)[[*GROUP, "value", "images", "seed", "fold"]]


def _spread_over_seeds(table: pd.DataFrame, means: "pd.Series[float]", kinds: Mapping[str, str]) -> pd.DataFrame:
    spread = means.groupby(GROUP).agg(std="std", seeds="count").reset_index()
    table = table.merge(spread, on=GROUP, how="left")
    trained = table["method"].map(kinds) == "run"
    known = table.assign(std=table["std"].where(trained, 0.0), seeds=table["seeds"].where(trained, 0))
    return known[SUMMARY]


def mark_close(summary: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a mean is not the best of its block, but no farther from it than both spreads together.

    Where a spread is not known (one seed), nothing is close.
    """
    best = summary[summary["rank"] == 1].drop_duplicates(BLOCK)[[*BLOCK, "mean", "std"]]
    both = summary.merge(best, on=BLOCK, how="left", suffixes=("", "_best"))
    near = (both["mean"] - both["mean_best"]).abs() <= both["std"] + both["std_best"]
    return pd.Series((near & (both["rank"] > 1)).to_numpy(), summary.index)


def mean_ranks(block: pd.DataFrame) -> dict[str, float]:
    """The mean of a row's ranks over the metrics of a block; NaN where it lacks one."""
    found = block.groupby("method", sort=False)["rank"]
    whole = found.count() == block["metric"].nunique()
    return {str(name): float(mean) for name, mean in found.mean().where(whole).items()}


def differences(summary: pd.DataFrame, reference: str, test: PairedTest) -> pd.DataFrame:
    """Each row's difference from a reference row, beside both spreads, and paired over the pictures.

    Args:
        summary: Of fusion or of detection.
        reference: The row that others are compared with; blocks without it have no rows here.
        test: Compares both over the pictures.

    Returns:
        `BLOCK`, direction, method, reference, difference (NaN where a row lacks pictures), spread (the sum of both,
        NaN if one is unknown), exceeds, pairs, p, p_holm (corrected after Holm for all comparisons of a dataset and
        convention).
    """
    rows = []
    of_reference = summary[summary["method"] == reference].set_index(BLOCK)
    for row in summary[summary["method"] != reference].to_dict("records"):
        dataset, convention, metric = (str(row[name]) for name in BLOCK)
        place: Any = (dataset, convention, metric)
        if place not in of_reference.index:
            continue
        other: Any = of_reference.loc[place]
        found = {name: row[name] for name in (*BLOCK, "direction", "method")}
        same = row["images"] == other["images"]  # means over different pictures differ by more than the methods
        difference, spread = row["mean"] - other["mean"] if same else np.nan, row["std"] + other["std"]
        pairs, p = test(dataset, convention, metric, str(row["method"]))
        found |= {"reference": reference, "difference": difference, "spread": spread}
        rows.append(found | {"exceeds": abs(difference) > spread, "pairs": pairs, "p": p})
    columns = [*BLOCK, "direction", "method", "reference", "difference", "spread", "exceeds", "pairs", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=table.groupby(["dataset", "convention"])["p"].transform(_holm))


def _holm(values: "pd.Series[float]") -> "pd.Series[float]":
    """Holm's correction: the p values as if there were this one comparison."""
    known = values.dropna().sort_values()
    factors = np.arange(len(known), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(known.to_numpy() * factors), 1.0)
    return pd.Series(corrected, known.index, dtype=float).reindex(values.index)
