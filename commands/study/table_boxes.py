"""Scores of boxes over the tests of a study: each picture is tested in one fold, and counts as in one test of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from ivif.callbacks.tables import PER_IMAGE, detection_rows
from ivif.commands.errors import UsageError
from ivif.metrics.detection import DetectionMetrics
from ivif.metrics.detection_record import read_metrics

JOINED: Final = "Average precision, precision and recall are those of the pictures of all folds together."
AVERAGED: Final = (
    "Average precision, precision and recall are the means of those of the folds, because some tests kept no "
    "detections of single pictures (`detection_per_image.safetensors`): remove their runs to test them again."
)

Run = tuple[str, int]
"""A row of the study, and a seed."""


@dataclass(frozen=True)
class StudyBoxes:
    """The scores of boxes of a study.

    Attributes:
        scores: Columns of `detection_rows`, seed and fold; a row for each class of a run's test.
        found: What each run found in every picture of all its folds, where its tests kept that.
        from_folds: How scores come from folds, in a sentence; empty where there are none.
    """

    scores: pd.DataFrame
    found: Mapping[Run, DetectionMetrics] = field(default_factory=dict)
    from_folds: str = ""


def gather_boxes(detection: pd.DataFrame, tests: Mapping[Run, Sequence[Path]]) -> StudyBoxes:
    """Joins the folds of each seed, whose pictures count as in one test of all.

    Average precision is no mean of those of parts: a fold without an object of a class has none of it, and scores of
    different folds' detections are compared with each other as they are in one test.

    Args:
        detection: Of all runs; columns of `detection_rows`, seed and fold (-1 where there are none).
        tests: The folders of tables of each row and seed, of all its folds.

    Returns:
        With one row in place of those of the folds (fold -1), if all tests kept what they found in single pictures.

    Raises:
        UsageError: If that is damaged.
    """
    files = {run: [folder / f"detection{PER_IMAGE}" for folder in folders] for run, folders in tests.items()}
    kept = {run: paths for run, paths in files.items() if all(path.is_file() for path in paths)}
    found = {run: _read(run, paths) for run, paths in kept.items()}
    if detection.empty or (detection["fold"] < 0).all():
        return StudyBoxes(detection, found)
    if kept.keys() != files.keys():
        return StudyBoxes(detection, found, AVERAGED)
    joined = [detection_rows(row, own.report()).assign(seed=seed, fold=-1) for (row, seed), own in found.items()]
    return StudyBoxes(pd.concat(joined, ignore_index=True)[detection.columns], found, JOINED)


def _read(run: Run, paths: Sequence[Path]) -> DetectionMetrics:
    try:
        return read_metrics(paths)
    except (OSError, ValueError) as error:
        raise UsageError(f"{error} Test the runs of {run[0]} again.") from error
