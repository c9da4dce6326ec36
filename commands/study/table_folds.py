"""Scores of boxes over all folds of a seed: each picture is tested in one fold, and counts as in one test of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from ivif.callbacks.tables import PER_IMAGE, detection_rows
from ivif.commands.errors import UsageError
from ivif.metrics.detection_record import read_metrics

JOINED: Final = "Average precision, precision and recall are those of the pictures of all folds together."
AVERAGED: Final = (
    "Average precision, precision and recall are the means of those of the folds, because some tests kept no "
    "detections of single pictures (`detection_per_image.safetensors`): remove their runs to test them again."
)

Run = tuple[str, int]
"""A row of the study, and a seed."""


def join_folds(detection: pd.DataFrame, tests: Mapping[Run, Sequence[Path]]) -> tuple[pd.DataFrame, str]:
    """One set of scores for each row and seed in place of one for each fold.

    Average precision is no mean of those of parts: a fold without an object of a class has none of it, and scores of
    different folds' detections are compared with each other as they are in one test.

    Args:
        detection: Of all runs; columns as of `detection_rows`, seed and fold (-1 where there are none).
        tests: The folders of tables of each row and seed, of all its folds.

    Returns:
        The same with one row in place of those of the folds (fold -1), and how scores come from folds, in a sentence;
        unchanged where a test kept no detections of single pictures, or without folds, and then with no sentence.

    Raises:
        UsageError: If what was found in single pictures is damaged.
    """
    if detection.empty or (detection["fold"] < 0).all():
        return detection, ""
    files = {run: [folder / f"detection{PER_IMAGE}" for folder in folders] for run, folders in tests.items()}
    if not all(file.is_file() for run in files.values() for file in run):
        return detection, AVERAGED
    joined = []
    for (row, seed), paths in files.items():
        try:
            report = read_metrics(paths).report()
        except (OSError, ValueError) as error:
            raise UsageError(f"{error} Test the runs of {row} again.") from error
        joined.append(detection_rows(row, report).assign(seed=seed, fold=-1))
    return pd.concat(joined, ignore_index=True)[detection.columns], JOINED
