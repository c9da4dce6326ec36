"""Manifests: stable choices, no overlap whatever is on disk, verified lists, reports."""

import hashlib
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ivif.datamodules.manifest_expansion import GENERATED, expand, known_names, outdated, read_scenes, write_expansion
from ivif.datamodules.manifest_rules import SPLITS_FOLDER, checksum, known_manifests
from ivif.datamodules.manifests import Manifest
from ivif.files.errors import SplitError

MANIFESTS = (
    *("default", "four_datasets", "m3fd_random", "m3fd_scenes", "mgfusion"),
    *("msrs_detection", "roadscene_msrs", "text_to_pixels"),
)
SAMPLE_NAMES: Mapping[str, Mapping[str, list[str]]] = {
    "roadscene": {"all": [*known_names("roadscene", "all"), *(f"FLIR_unknown_{number}" for number in range(45))]},
    "m3fd": {"all": known_names("m3fd", "all")},
    "m3fd_fusion": {"all": [f"{number:05d}" for number in range(300)]},
    "msrs": {
        "train": [*known_names("msrs", "train"), *(f"1{number:04d}D" for number in range(1071))],
        "test": [*known_names("msrs", "test"), *(f"2{number:04d}N" for number in range(221))],
    },
    "llvip": {"train": [f"01{n:04d}" for n in range(1500)], "test": [f"19{n:04d}" for n in range(400)]},
    "tno": {"all": [f"{number:02d}" for number in range(1, 43)]},
}
"""Every dataset complete, with made-up names where the real ones are unknown."""


def names_of(dataset: str, pool: str) -> list[str]:
    pools = SAMPLE_NAMES[dataset]
    return pools[pool] if pool in pools else [name for names in pools.values() for name in names]


def write_manifest(folder: Path, rule: str, lists: Mapping[str, list[str]] | None = None, seed: int = 0) -> Path:
    """A manifest of one dataset `toy`."""
    lists = lists or {}
    entry = {"seed": seed, "datasets": {"toy": yaml.safe_load(rule)}}
    entry["lists"] = {key: {"count": len(names), "sha256": checksum(names)} for key, names in lists.items()}
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(entry))
    (folder / "toy").mkdir()
    for key, names in lists.items():
        (folder / "toy" / f"{key}.txt").write_text("".join(f"{name}\n" for name in names))
    return path


def test_every_committed_manifest_is_known() -> None:
    assert known_manifests() == sorted(MANIFESTS)


def test_the_committed_lists_are_what_their_rules_give() -> None:
    assert outdated() == []


def test_order_is_by_sha256_of_seed_dataset_and_name() -> None:
    manifest = Manifest("m", 7, {})
    names = ["a", "b", "c", "d", "e"]
    expected = sorted(names, key=lambda name: hashlib.sha256(f"7/toy/{name}".encode()).hexdigest())
    assert manifest.order("toy", [*names, "a"]) == expected
    assert expected != names


@pytest.mark.parametrize(
    ("dataset", "train", "test"),
    [("roadscene", 200, 20), ("llvip", 201, 20), ("msrs", 217, 20), ("m3fd", 230, 20)],
)
def test_mgfusion_has_the_counts_of_the_paper(dataset: str, train: int, test: int) -> None:
    manifest = Manifest.load("mgfusion")
    chosen = {
        stage: manifest.select(dataset, stage, names_of(dataset, manifest.pool(dataset, stage) or ""), strict=True)
        for stage in ("train", "val", "test")
    }
    assert (len(chosen["train"].names), len(chosen["test"].names)) == (train, test)
    assert chosen["val"].names == chosen["test"].names
    assert not set(chosen["train"].names) & set(chosen["test"].names)


@pytest.mark.parametrize(
    ("manifest", "dataset", "tested"),
    [
        ("default", "tno", 42),
        ("default", "m3fd_fusion", 300),
        ("mgfusion", "tno", 42),  # all of the paper's 55 that there are
        ("text_to_pixels", "tno", 37),
        ("text_to_pixels", "roadscene", 60),
        ("text_to_pixels", "m3fd_fusion", 300),
    ],
)
def test_fusion_is_tested_on_the_pairs_of_the_papers(manifest: str, dataset: str, tested: int) -> None:
    rule = Manifest.load(manifest)
    assert len(rule.select(dataset, "test", names_of(dataset, "all")).names) == tested
    assert rule.pool(dataset, "train") is None


@pytest.mark.parametrize(("manifest", "within", "leaked"), [("m3fd_random", 1, 775), ("m3fd_scenes", 10, 0)])
def test_how_many_test_frames_of_m3fd_have_a_neighbour_in_training(manifest: str, within: int, leaked: int) -> None:
    rule, names = Manifest.load(manifest), names_of("m3fd", "all")
    trained = {int(name) for name in rule.select("m3fd", "train", names).names}
    tested = [int(name) for name in rule.select("m3fd", "test", names).names]
    near = range(-within, within + 1)
    assert sum(any(number + step in trained for step in near) for number in tested) == leaked


def test_mgfusion_never_trains_on_tno() -> None:
    manifest = Manifest.load("mgfusion")
    assert manifest.pool("tno", "train") is None
    assert manifest.pool("tno", "test") == "all"
    with pytest.raises(SplitError, match=r"no 'train' pairs of tno.*test, val"):
        manifest.select("tno", "train", ["01"])


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_train_and_test_share_no_name_whatever_is_on_disk(name: str, share: float) -> None:
    manifest = Manifest.load(name)
    for dataset in manifest.datasets:
        for other in ("test", "val"):
            if "train" not in manifest.stages(dataset) or other not in manifest.stages(dataset):
                continue
            # different disks, as on two machines: what one trains on, the other must not test on
            disks = [
                random.Random(index).sample(names, max(1, int(share * len(names))))
                for index, stage in enumerate(("train", other))
                for names in [names_of(dataset, manifest.pool(dataset, stage) or "")]
            ]
            trained = set(manifest.select(dataset, "train", disks[0]).names)
            tested = set(manifest.select(dataset, other, disks[1]).names)
            assert not trained & tested
            assert trained <= set(disks[0])


def test_all_of_the_data_is_used_by_shares() -> None:
    manifest = Manifest.load("default")
    names = names_of("roadscene", "all")
    counts = {stage: len(manifest.select("roadscene", stage, names).names) for stage in ("train", "val", "test")}
    assert sum(counts.values()) == 221
    assert 0.13 < counts["test"] / 221 < 0.27
    assert counts["train"] > 5 * counts["val"] > 0


def test_a_smaller_disk_takes_the_next_names_in_order() -> None:
    manifest = Manifest.load("mgfusion")
    train = names_of("llvip", "train")
    everything = manifest.select("llvip", "train", train).names
    assert everything == manifest.order("llvip", train)[:201]
    kept = [name for name in train if name not in everything[:10]]
    assert manifest.select("llvip", "train", kept).names[:191] == everything[10:]


def test_listed_pairs_come_first_and_others_stand_in() -> None:
    manifest = Manifest.load("mgfusion")
    names = known_names("m3fd", "all")
    listed = manifest.listed("m3fd", "test")
    assert manifest.select("m3fd", "test", names).names == listed
    selection = manifest.select("m3fd", "test", [name for name in names if name not in listed[:3]])
    assert selection.names[:17] == listed[3:]
    assert len(selection.names) == 20
    assert selection.missing_names == listed[:3]
    assert selection.missing == 3
    assert "20 of 20 pairs" in selection.report
    assert "3 other(s) stand in" in selection.report


def test_a_part_of_the_data_gives_what_exists_and_says_so() -> None:
    manifest = Manifest.load("mgfusion")
    selection = manifest.select("roadscene", "train", known_names("roadscene", "all"))
    assert len(selection.names) == 156
    assert (selection.requested, selection.missing, selection.missing_names) == (200, 44, [])
    assert selection.report == (
        "roadscene train (mgfusion): 156 of 200 pairs (on disk: 176 of 221 released in 'all'); "
        "44 of the complete selection missing"
    )


def test_strict_names_what_is_missing_and_the_remedy() -> None:
    manifest = Manifest.load("mgfusion")
    listed = manifest.listed("roadscene", "test")
    with pytest.raises(SplitError, match=f"Missing: {listed[0]}.*and 10 more.*DATASETS.md.*strict: false"):
        manifest.select("roadscene", "test", [], strict=True)
    complete = manifest.select("roadscene", "test", known_names("roadscene", "all"), strict=True)
    assert complete.missing == 0


def test_unlisted_roadscene_pairs_are_for_training_only() -> None:
    manifest = Manifest.load("mgfusion")
    assert {manifest.stage_of("roadscene", f"FLIR_x{number}", "all") for number in range(50)} == {"train"}


def test_m3fd_scenes_keeps_scenes_together_and_a_distance_between_stages() -> None:
    manifest = Manifest.load("m3fd_scenes")
    names = known_names("m3fd", "all")
    stages = {name: manifest.stage_of("m3fd", name, "all") for name in names}
    for scene in read_scenes("m3fd_scenes", names):
        assert len({stages[name] for name in scene.names} - {"guard"}) <= 1
    for index, name in enumerate(names):
        around = {stages[other] for other in names[max(0, index - 10) : index + 11]}
        assert stages[name] != "train" or not around & {"test", "val"}
        assert stages[name] != "val" or "test" not in around
    used = {stage: len(manifest.select("m3fd", stage, names, strict=True).names) for stage in ("train", "val", "test")}
    assert used == {"train": 2815, "val": 262, "test": 863}


def test_mgfusion_tests_on_other_m3fd_scenes_than_it_trains_on() -> None:
    manifest, scenes = Manifest.load("mgfusion"), Manifest.load("m3fd_scenes")
    assert {scenes.stage_of("m3fd", name, "all") for name in manifest.listed("m3fd", "test")} == {"test"}
    assert {scenes.stage_of("m3fd", name, "all") for name in manifest.listed("m3fd", "train")} == {"train", "val"}


def test_msrs_detection_divides_day_and_night_alike() -> None:
    lists = expand(Manifest.load("msrs_detection"))
    assert {key: len(names) for key, names in lists.items()} == {"msrs_test": 40, "msrs_val": 14, "msrs_train": 98}
    night = {key: sum(name.endswith("N") for name in names) / len(names) for key, names in lists.items()}
    assert max(night.values()) - min(night.values()) < 0.04


def test_an_unknown_name_lists_the_known_manifests() -> None:
    with pytest.raises(
        SplitError, match=r"'mgfussion'\. Known: default, four_datasets, m3fd_random, m3fd_scenes, mgfusion"
    ):
        Manifest.load("mgfussion")
    with pytest.raises(SplitError, match=r"does not cover the dataset 'kaist'.*roadscene"):
        Manifest.load("mgfusion").pool("kaist", "test")


@pytest.mark.parametrize("edit", ["swap", "remove", "delete"])
def test_an_edited_list_is_refused_by_name(tmp_path: Path, edit: str) -> None:
    shutil.copy(SPLITS_FOLDER / "roadscene_msrs.yaml", tmp_path)
    shutil.copytree(SPLITS_FOLDER / "roadscene_msrs", tmp_path / "roadscene_msrs")
    path = tmp_path / "roadscene_msrs.yaml"
    assert Manifest.load(path).listed("msrs", "test")
    edited = tmp_path / "roadscene_msrs" / "msrs_test.txt"
    names = edited.read_text().splitlines()
    if edit == "delete":
        edited.unlink()
    else:
        names = names[:-1] if edit == "remove" else ["00881N", *names[1:]]
        edited.write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(SplitError, match=r"msrs_test\.txt"):
        Manifest.load(path)


def test_a_name_in_two_lists_is_leakage(tmp_path: Path) -> None:
    rule = "{released: {all: 4}, unlisted: train, stages: {train: {pool: all}, test: {pool: all, count: 2}}}"
    path = write_manifest(tmp_path, rule, {"toy_train": ["a", "b"], "toy_test": ["b", "c"]})
    with pytest.raises(SplitError, match=r"1 pair\(s\) of toy for both .*\(b\)"):
        Manifest.load(path)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{released: {}, stages: {train: {pool: all}, test: {pool: all, count: 2}}}", "nothing keeps the stages"),
        ("{released: {}, stages: {train: {pool: all, fraction: 0.8}, test: {pool: all, fraction: 0.3}}}", "sum 1"),
        ("{released: {}, stages: {train: {pool: all}}, sed: 3}", "unknown keys.*sed"),
        ("{released: {}, stages: {train: {pool: all, cuont: 3}}}", "unknown keys.*cuont"),
        ("{released: {}}", "malformed"),
    ],
)
def test_a_malformed_manifest_says_what_is_wrong(tmp_path: Path, rule: str, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        Manifest.load(write_manifest(tmp_path, rule))


def test_shares_of_unlisted_names_follow_their_position(tmp_path: Path) -> None:
    rule = "{released: {all: 9}, stages: {test: {pool: all, fraction: 0.25}, train: {pool: all, fraction: 0.75}}}"
    manifest = Manifest.load(write_manifest(tmp_path, rule, {"toy_train": ["listed"]}))
    names = [f"n{number}" for number in range(400)]
    tested = manifest.select("toy", "test", names).names
    assert tested == [name for name in manifest.order("toy", names) if manifest.position("toy", name) < 0.25]
    assert 70 < len(tested) < 130
    assert manifest.stage_of("toy", "listed", "all") == "train"


def test_a_runs_expansion_reads_back_to_the_same_pairs(tmp_path: Path) -> None:
    manifest = Manifest.load("mgfusion")
    chosen = [
        manifest.select(dataset, stage, names_of(dataset, manifest.pool(dataset, stage) or ""))
        for dataset in ("roadscene", "m3fd", "m3fd_fusion", "msrs")
        for stage in manifest.stages(dataset)
    ]
    path = tmp_path / "run" / "used.yaml"
    write_expansion(path, chosen)
    used = Manifest.load(path)
    for selection in chosen:
        everything = names_of(selection.dataset, selection.pool)
        again = used.select(selection.dataset, selection.stage, everything, strict=True)
        assert again.names == selection.names
        assert used.pool(selection.dataset, selection.stage) == selection.pool
    assert "mgfusion" in yaml.safe_load(path.read_text())["description"]


def test_the_rule_of_a_manifest_is_kept_when_its_lists_are_written() -> None:
    text = (SPLITS_FOLDER / "mgfusion.yaml").read_text()
    assert text.count(GENERATED) == 1
    assert text.startswith("# The protocol of MGFusion")
    assert yaml.safe_load(text)["known"]["roadscene"] == {"all": "176 of 221"}
