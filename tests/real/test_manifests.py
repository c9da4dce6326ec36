"""Manifests on the real pairs."""

import itertools

import pytest

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.datasets.tno import TNO
from ivif.datamodules.manifest_expansion import known_names, read_scenes
from ivif.datamodules.manifests import Manifest
from tests.real_data import REAL_DATA

READERS: dict[str, type[PairedDataset]] = {
    "RoadScene": RoadScene,
    "MSRS": MSRS,
    "M3FD": M3FD,
    "LLVIP": LLVIP,
    "TNO": TNO,
}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real pairs in '{REAL_DATA}' (set IVIF_REAL_DATA)"),
]


@pytest.mark.parametrize("manifest_name", ["default", "four_datasets", "mgfusion", "roadscene_msrs"])
@pytest.mark.parametrize("folder", READERS)
def test_every_stage_gets_pairs_and_none_is_in_two(manifest_name: str, folder: str) -> None:
    manifest, reader = Manifest.load(manifest_name), READERS[folder]
    if reader.dataset_name not in manifest.datasets:
        pytest.skip(f"{manifest_name} does not cover {folder}")
    chosen = {}
    for stage in manifest.stages(reader.dataset_name):
        dataset = reader(REAL_DATA / folder, manifest.pool(reader.dataset_name, stage) or "")
        selection = manifest.select(reader.dataset_name, stage, dataset.names)
        chosen[stage] = set(dataset.select(selection.names).names)
    assert all(chosen.values())
    assert not chosen.get("train", set()) & (chosen["test"] | chosen.get("val", set()))


def test_the_pairs_with_boxes_of_msrs_are_all_divided() -> None:
    manifest, names = Manifest.load("msrs_detection"), MSRS(REAL_DATA / "MSRS", "all").names
    parts = [manifest.select("msrs", stage, names).names for stage in ("train", "val", "test")]
    assert sorted(itertools.chain(*parts)) == sorted(names)
    assert [len(part) for part in parts] == [98, 14, 40]


def test_known_names_are_those_on_disk() -> None:
    assert set(RoadScene(REAL_DATA / "RoadScene").names) <= set(known_names("roadscene", "all"))
    assert set(M3FD(REAL_DATA / "M3FD").names) <= set(known_names("m3fd", "all"))
    for split in ("train", "test"):
        assert set(MSRS(REAL_DATA / "MSRS", split).names) <= set(known_names("msrs", split))


def test_scenes_are_the_runs_of_one_condition_in_the_published_lists() -> None:
    meta = REAL_DATA / "M3FD" / "meta" / "RGBXFusion"
    conditions: dict[str, set[str]] = {}
    for condition, split in itertools.product(("challenge", "daytime", "night", "overcast"), ("train", "val", "test")):
        for name in (meta / f"{condition}_{split}.txt").read_text().split():
            conditions.setdefault(name, set()).add(condition)
    names = sorted((meta / "all.txt").read_text().split())
    assert names == known_names("m3fd", "all")
    runs = itertools.groupby(names, key=lambda name: "+".join(sorted(conditions.get(name, {"unlisted"}))))
    assert [(scene.condition, scene.names) for scene in read_scenes("m3fd_scenes", names)] == [
        (condition, tuple(run)) for condition, run in runs
    ]
