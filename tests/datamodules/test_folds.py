"""Folds: every pair is tested once, and folds are alike."""

import random
from collections import Counter
from pathlib import Path

import pytest

from ivif.datamodules.datasets.folder import FolderLayout
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.folds import Unit, divide, parts_of, units_of
from ivif.datamodules.manifest_expansion import known_names, read_scenes, write_expansion
from ivif.datamodules.manifests import Manifest, Selection
from ivif.files.errors import SplitError
from tests.fakes import write_folder


def _units(count: int, seed: int = 0) -> list[Unit]:
    """Single pairs by day and night with persons, cars and rare lamps."""
    drawn = random.Random(seed)
    return [
        Unit((f"{index:03d}",), drawn.choice(("day", "day", "night")), (drawn.randrange(6), drawn.randrange(4), lamp))
        for index, lamp in ((index, int(drawn.random() < 0.1)) for index in range(count))
    ]


def _spread(counts: list[int]) -> int:
    return max(counts) - min(counts)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_hold_every_pair_once_and_are_alike(count: int) -> None:
    units = _units(101)
    folds = divide(units, count)
    assert sorted(unit.names for fold in folds for unit in fold) == sorted(unit.names for unit in units)
    assert _spread([len(fold) for fold in folds]) <= 1
    for condition in ("day", "night"):
        assert _spread([sum(unit.condition == condition for unit in fold) for fold in folds]) <= 1
    for label, most in enumerate((2, 2, 1)):
        assert _spread([sum(unit.objects[label] for unit in fold) for fold in folds]) <= most


def test_what_a_fold_does_not_test_is_trained_and_validated_on() -> None:
    units = _units(40)
    folds = divide(units, 4)
    for tested in range(4):
        parts = parts_of(folds, tested)
        assert sorted(name for names in parts.values() for name in names) == sorted(unit.names[0] for unit in units)
        assert [len(parts[stage]) for stage in ("train", "val", "test")] == [27, 3, 10]
        nights = {unit.names[0] for unit in units if unit.condition == "night"}
        assert 0 < len(nights & set(parts["val"])) < 3


def test_scenes_are_not_divided() -> None:
    units = [Unit(tuple(f"{scene}-{index}" for index in range(scene % 4 + 1)), "day", (1,)) for scene in range(12)]
    folds = divide(units, 3)
    assert [sum(len(unit.names) for unit in fold) for fold in folds] == [10, 10, 10]
    scenes = [{name.split("-")[0] for unit in fold for name in unit.names} for fold in folds]
    assert sum(map(len, scenes)) == 12


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(SplitError, match=r"5 pairs .* too few for 3 folds"):
        divide(_units(5), 3)


def test_the_order_is_the_seeds_and_sequences_stay_whole(tmp_path: Path) -> None:
    root = write_folder(tmp_path, count=6, templates=("s{:03d}", "s{:03d}"))
    data = FolderDataModule(root=root)
    (reader,) = data.stage_readers("all")
    names = [unit.names[0] for unit in units_of(reader, data.manifest, 0)]  # type: ignore[arg-type]
    assert names == [unit.names[0] for unit in units_of(reader, data.manifest, 0)]  # type: ignore[arg-type]
    assert names != [unit.names[0] for unit in units_of(reader, data.manifest, 1)]  # type: ignore[arg-type]
    sequenced = FolderDataModule(root=root, layout=FolderLayout(sequence=r"(s00[0-2]|s)"))
    (reader,) = sequenced.stage_readers("all")
    units = units_of(reader, sequenced.manifest, 0)  # type: ignore[arg-type]
    assert sorted(map(len, (unit.names for unit in units))) == [1, 1, 1, 3]


def test_m3fd_has_scenes_by_way_of_the_manifest_that_it_follows() -> None:
    assert Manifest.load("default").scenes("m3fd") == "m3fd_scenes"
    assert Manifest.load("m3fd_random").scenes("m3fd") is None
    scenes = read_scenes("m3fd_scenes", known_names("m3fd", "all"))
    units = [Unit(scene.names, scene.condition, ()) for scene in scenes]
    counts = Counter({fold: sum(len(unit.names) for unit in own) for fold, own in enumerate(divide(units, 5))})
    assert sum(counts.values()) == 4200
    assert _spread(list(counts.values())) < 420


def test_a_manifest_of_ones_own_divides_a_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pairs", count=6, templates=("s{:03d}", "s{:03d}"))
    names = [f"s{index:03d}" for index in range(6)]
    parts = {"train": names[:2], "val": names[2:3], "test": names[3:]}
    chosen = [Selection("mine", "folder", stage, "all", own, None, [], 0, "") for stage, own in parts.items()]
    write_expansion(tmp_path / "mine.yaml", chosen)
    data = FolderDataModule(root=root, manifest=str(tmp_path / "mine.yaml"))
    for stage, own in parts.items():
        assert data.stage_readers(stage)[0].names == own  # type: ignore[attr-defined]
