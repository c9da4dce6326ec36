"""`folds` of a study: each pair is tested once, by runs that have not seen it, and the tables join them."""

import shutil
from pathlib import Path

import pytest
import yaml

from ivif.commands.data.scenes import write_scenes
from ivif.commands.errors import UsageError
from ivif.commands.study.folds import write_folds
from ivif.commands.study.grid import read_study
from ivif.commands.study.planned import PlannedRun
from ivif.commands.study.record import read_record
from ivif.commands.study.run import study_run
from ivif.commands.study.table import study_table
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.manifests import Manifest
from ivif.files.errors import SplitError
from ivif.files.table_files import read_table

LABELS = {"data.layout.labels": "labels", "data.classes": "[person, car, bicycle, lamp]"}
STUDY = {
    "methods": {"one": {"config": "mgfusion.yaml"}},
    "data": {"scenes": {"file": "folder.yaml", "root": "scenes", "options": LABELS}},
    "seeds": [0, 1],
    "folds": 2,
}
NETWORK = {
    "model.clip": "random-tiny", "model.network.channels": 8, "model.network.heads": 2, "model.network.blocks": 1,
    "transforms.crop": 32,
}  # fmt: skip
TINY = {
    "loading.batch_size": 2, "loading.num_workers": 0, "trainer.accelerator": "cpu", "trainer.max_steps": 2,
    "trainer.max_epochs": -1, "trainer.num_sanity_val_steps": 0, "trainer.limit_val_batches": 0,
}  # fmt: skip
DETECTOR = {
    "path": "sea",
    "config": ["detection.yaml", "detection_cpu.yaml"],
    "options": {"model.detector.image_size": 64, "transforms.resize": [48, 56]},
}


def _write(folder: Path, **changes: object) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return str(path)


def _runs(folder: Path, **changes: object) -> list[PlannedRun]:
    return read_study(_write(folder, **changes), folder)[1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_scenes(SyntheticDataset(8, (48, 56)), tmp_path / "scenes")
    return tmp_path


def _divided(root: Path, **changes: object) -> list[Manifest]:
    division = _runs(root, **changes)[0].division
    assert division is not None
    write_folds(root / "study", division)
    folder = root / "study" / "folds" / division.folder
    return [Manifest.load(folder / f"fold{fold}.yaml") for fold in range(division.count)]


def test_each_fold_is_a_run_of_every_seed(tmp_path: Path) -> None:
    methods = {
        "one": {"config": "mgfusion.yaml", "after": "start", "options": {"init_from": "{after}"}},
        "start": {"config": "mgfusion.yaml", "seeds": [5]},
    }
    runs = _runs(tmp_path, methods=methods)
    assert [run.name for run in runs[:2]] == ["start-seed5-fold0", "start-seed5-fold1"]
    assert [(run.name, run.fold, run.after) for run in runs[2:4]] == [
        ("one-seed0-fold0", 0, "start-seed5-fold0"),
        ("one-seed0-fold1", 1, "start-seed5-fold1"),
    ]
    assert "--data.manifest={folds}/scenes-2-seed0/fold1.yaml" in runs[3].arguments
    assert {run.row for run in runs[2:]} == {"one"}
    assert len(runs) == 6


def test_a_folder_is_scored_on_the_pairs_of_each_fold(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    tests = {"own": {"convention": "vifb"}}
    *_, first, last = _runs(tmp_path, folders={"SeAFusion": "sea"}, tests=tests)
    assert [(run.name, run.row, run.kind) for run in (first, last)] == [
        ("SeAFusion-fold0", "SeAFusion", "folder"),
        ("SeAFusion-fold1", "SeAFusion", "folder"),
    ]
    (test,) = last.tests
    assert test.arguments[0] == "--data=folder.yaml"
    assert test.arguments[-2:] == ("--data.manifest={folds}/scenes-2-seed0/fold1.yaml", "--convention=vifb")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, "folds must be 2 or more"),
        ({"folds": {"number": 3}}, "folds: unknown number"),
        ({"folds": {"count": 3, "seed": -1}}, "folds must be 2 or more"),
        ({"tests": {"tno": {"file": "tno.yaml"}}}, "tests.tno: folds test the pairs of data"),
        ({"data": {"scenes": {"root": "x"}}}, "data.scenes needs a file"),
    ],
)
def test_refuses_what_folds_cannot_mean(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _runs(tmp_path, **changes)


def test_every_pair_is_tested_once_and_the_seed_decides(root: Path) -> None:
    folds = _divided(root)
    tested = [name for fold in folds for name in fold.listed("folder", "test")]
    assert sorted(tested) == sorted(SyntheticDataset(8, (48, 56)).names)
    for fold in folds:
        times = [name.split("_")[0] for name in fold.listed("folder", "test")]
        assert 1 <= times.count("night") <= 2
        assert {name for stage in ("train", "val", "test") for name in fold.listed("folder", stage)} == set(tested)
    assert [fold.listed("folder", "test") for fold in _divided(root)] == [
        fold.listed("folder", "test") for fold in folds
    ]
    other = _divided(root, folds={"count": 2, "seed": 1})
    assert {frozenset(fold.listed("folder", "test")) for fold in other} != {
        frozenset(fold.listed("folder", "test")) for fold in folds
    }


def test_other_pairs_than_were_divided_are_refused(root: Path) -> None:
    _divided(root)
    for place, ending in (("ir", "png"), ("vi", "png"), ("labels", "txt")):
        (root / "scenes" / place / f"day_000000.{ending}").unlink()
    with pytest.raises(UsageError, match=r"other pairs than when its folds were drawn \(1 came or went, such as 'day_"):
        _divided(root)
    with pytest.raises(SplitError, match=r"7 pairs .* too few for 4 folds"):
        _divided(root, folds=4)


def test_generated_scenes_are_no_pairs_to_divide(tmp_path: Path) -> None:
    division = _runs(tmp_path, data={"scenes": {"file": "synthetic.yaml"}})[0].division
    assert division is not None
    with pytest.raises(UsageError, match=r"data\.scenes has no pairs on disk that folds could divide"):
        write_folds(tmp_path, division)


@pytest.mark.slow
def test_a_study_in_folds_scores_every_pair_once(root: Path) -> None:
    shutil.copytree(root / "scenes" / "vi", root / "sea")
    methods = {"one": {"config": "mgfusion.yaml", "options": NETWORK}}
    folders = {"SeAFusion": "sea", "SeAFusion+detector": DETECTOR}
    study = _write(root, seeds=[0], options=TINY, methods=methods, folders=folders)
    place = root / "studies" / "small"
    assert study_run(study, root / "studies", root, 2, dry_run=False) == 0
    assert study_table(place) == 0
    images = read_table(place / "tables" / "per_image.csv").query("metric == 'EN'")
    rows = ["one", "SeAFusion", "SeAFusion+detector", "average"]
    counts = images.groupby("method")["name"].agg(["count", "nunique"])
    assert counts.loc[rows].to_numpy().tolist() == [[8, 8]] * 4
    values = images.pivot_table(index="name", columns="method", values="value")
    assert values["SeAFusion"].tolist() == pytest.approx(values["SeAFusion+detector"].tolist(), abs=1e-3)
    compared = read_table(place / "tables" / "differences.csv")
    assert set(compared.loc[compared["metric"] == "Qabf", "pairs"]) == {8}
    summary = read_table(place / "tables" / "summary.csv").query("convention == 'AP50'")
    assert set(summary["method"]) == {"SeAFusion+detector"}
    assert set(summary["images"]) == {8}
    assert "of the pictures of all folds together" in (place / "tables" / "tables.md").read_text()
    (root / "sea" / "day_000000.png").unlink()
    for folder in place.glob("SeAFusion*"):
        shutil.rmtree(folder)
    assert study_run(study, root / "studies", root, 2, dry_run=False) == 1
    failed = {record.row: record.problem for record in read_record(place) if record.state == "failed"}
    assert "has usable pictures of 3 of 4 pairs" in failed["SeAFusion"]
    assert "no 'fused' picture" in failed["SeAFusion+detector"]
