"""Folds: all pairs of a dataset divided so that each is tested once, alike in time of day and in objects."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.descriptions import time_of_day
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.manifest_expansion import known_names, read_scenes
from ivif.datamodules.manifests import Manifest
from ivif.files.errors import SplitError

IntArray = NDArray[np.int_]

LEAST: Final = 1e-9
"""What an exchange must gain: less may be rounding, and go on without end."""

VALIDATION_PARTS: Final = 8
"""One of so many parts of what a fold does not test is for validation."""


@dataclass(frozen=True)
class Unit:
    """Pairs that stay together: one alone, or those of a scene or sequence.

    Attributes:
        names: Of the pairs.
        condition: Time of day of most of them.
        objects: How many objects of each class they show.
    """

    names: tuple[str, ...]
    condition: str
    objects: tuple[int, ...]


def units_of(reader: PairedDataset, manifest: Manifest, seed: int) -> list[Unit]:
    """The units of a dataset, in an order that the seed decides; decodes every pair.

    Args:
        reader: All pairs.
        manifest: Says whether the dataset has scenes that are not to be divided.
        seed: Of the order.
    """
    index_of = {name: index for index, name in enumerate(reader.names)}
    order = Manifest("folds", seed, {}).order(reader.dataset_name, index_of)
    together = dict(_scenes(reader, manifest))
    groups: dict[str, list[str]] = {}
    for name in order:
        groups.setdefault(together.get(name, f"pair {name}"), []).append(name)
    return [_unit(reader, index_of, names) for names in groups.values()]


def _scenes(reader: PairedDataset, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Name and scene of each pair that belongs to one."""
    sequences = reader.sequences() if isinstance(reader, FolderDataset) else {}
    if len(sequences) > 1:
        yield from ((name, f"sequence {sequence}") for sequence, names in sequences.items() for name in names)
    if table := manifest.scenes(reader.dataset_name):
        scenes = read_scenes(table, known_names(reader.dataset_name, "all"))
        yield from ((name, f"scene {scene.names[0]}") for scene in scenes for name in scene.names)


def _unit(reader: PairedDataset, index_of: dict[str, int], names: Sequence[str]) -> Unit:
    times: Counter[str] = Counter()
    objects: Counter[int] = Counter()
    for name in names:
        sample = reader[index_of[name]]
        times[time_of_day(sample["visible"])] += 1
        objects.update(sample["targets"]["labels"].tolist() if "targets" in sample else [])
    return Unit(tuple(names), times.most_common(1)[0][0], tuple(objects[label] for label in range(len(reader.classes))))


def divide(units: Sequence[Unit], count: int) -> list[list[Unit]]:
    """Divides units into folds with as many pairs as each other, in every condition and in all, and like objects.

    Of single pairs the folds differ by one at most, by time of day and in all. They are dealt in their order, the
    largest first; then units of one size and time of day are exchanged as long as that brings the numbers of objects
    closer, each class as a share of all its objects.

    Args:
        units: In the order in which they are dealt.
        count: How many folds, 2 or more.

    Raises:
        SplitError: If there are fewer than two units for each fold.
    """
    if len(units) < 2 * count:
        raise SplitError(
            f"{len(units)} pairs (or scenes, which are not divided) are too few for {count} folds: each needs two. "
            f"Lower the number of folds, or complete the data."
        )
    return _dealt(units, count)


def parts_of(folds: Sequence[Sequence[Unit]], tested: int) -> dict[str, list[str]]:
    """The names of each stage where one fold is tested: a balanced eighth of the others validates."""
    others = [unit for index, fold in enumerate(folds) if index != tested for unit in fold]
    *trained, validated = _dealt(others, min(VALIDATION_PARTS, len(others)))
    parts = {"train": [unit for part in trained for unit in part], "val": validated, "test": folds[tested]}
    return {stage: [name for unit in units for name in unit.names] for stage, units in parts.items()}


def _dealt(units: Sequence[Unit], count: int) -> list[list[Unit]]:
    fold_of = np.zeros(len(units), dtype=int)
    pairs = [0] * count
    for condition in sorted({unit.condition for unit in units}):
        alike = [0] * count
        members = [index for index, unit in enumerate(units) if unit.condition == condition]
        for index in sorted(members, key=lambda each: -len(units[each].names)):
            fold_of[index] = fold = min(range(count), key=lambda each: (alike[each], pairs[each]))
            alike[fold] += len(units[index].names)
            pairs[fold] += len(units[index].names)
    _exchange(units, fold_of, count)
    return [[unit for unit, own in zip(units, fold_of, strict=True) if own == fold] for fold in range(count)]


def _exchange(units: Sequence[Unit], fold_of: IntArray, count: int) -> None:
    """Exchanges units of folds while that lowers the sum of the squares of the folds' shares of each class."""
    objects = np.array([unit.objects for unit in units], dtype=float).reshape(len(units), -1)
    shares = objects / np.maximum(objects.sum(axis=0), 1)
    held = np.array([shares[fold_of == fold].sum(axis=0) for fold in range(count)])
    kinds: dict[tuple[str, int], int] = {}
    kind = np.array([kinds.setdefault((unit.condition, len(unit.names)), len(kinds)) for unit in units])
    better = True
    while better:
        better = False
        for index, own in enumerate(shares):
            others = np.flatnonzero((kind == kind[index]) & (fold_of != fold_of[index]))
            moved = shares[others] - own
            change = ((moved + held[fold_of[index]] - held[fold_of[others]]) * moved).sum(axis=1)
            if not len(others) or change.min() > -LEAST:
                continue
            other = others[change.argmin()]
            here, there = fold_of[index], fold_of[other]
            held[here] += shares[other] - own
            held[there] -= shares[other] - own
            fold_of[index], fold_of[other] = there, here
            better = True
