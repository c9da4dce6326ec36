"""A word in `data check` on infrared that may be black-hot."""

from contextlib import suppress
from typing import Final

from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.polarity import PEOPLE, darker_people, polarity_finding
from ivif.datamodules.start_checks import spread
from ivif.files.errors import DatasetError

MOST: Final = 100
"""Pairs of a dataset whose people are looked at."""


def polarity_hint(dataset: PairedDataset) -> list[str]:
    """A line where most people are dark, of a dataset with boxes of people; none otherwise."""
    people = [label for label, name in enumerate(dataset.classes) if name.casefold() in PEOPLE]
    if not dataset.has_labels or not people:
        return []
    signs: list[int] = []
    for index in spread(len(dataset), MOST):
        with suppress(DatasetError):  # told already
            sample = dataset[index]
            targets = sample["targets"]
            rows = zip(targets["labels"].tolist(), targets["boxes"].tolist(), strict=True)
            plane = plane_to_float(sample["infrared"])[0].numpy()
            signs += darker_people(plane, [box for label, box in rows if label in people])
    return polarity_finding(signs)
