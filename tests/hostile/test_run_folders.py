"""Run folders and checkpoints that a stranger made: nothing is written, removed or recorded outside of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from ivif.callbacks.dashboards import read_records
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.commands.errors import UsageError
from ivif.commands.report.run import report_run
from ivif.commands.train.predictions import refuse_sources
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.contracts.run_files import STORE_RECORD
from ivif.datamodules.folder import FolderDataModule
from ivif.files.inside import LARGEST_RECORD, OutsideFileError, read_inside, refuse_links_out
from ivif.files.whole import write_whole
from ivif.lightning_modules.previous_results import PreviousResults, stored_epoch
from ivif.testing.batches import quiet_trainer
from tests.commands.runs import newest_run, tiny_run
from tests.fakes import write_folder
from tests.refusals import accepted, refusal, refused

PRIVATE: Final = "the key of another place"


@pytest.fixture
def private(place: Path) -> Path:
    """A file of the user's own, outside of every run."""
    path = place / "home" / "key"
    path.parent.mkdir()
    path.write_text(PRIVATE)
    return path


def _run_folder(place: Path) -> Path:
    run = place / "runs" / "foreign" / "one"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("seed_everything: 0\n")
    (run / "metrics.csv").write_text("step,epoch,train/loss\n0,0,1.0\n1,0,0.5\n")
    return run


LINKS: Final = [".lock", "report.html", "config.yaml", "splits/msrs_train.txt", "splits/used", "checkpoints/x"]


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_a_run_folder_are_refused_before_anything_is_written(
    name: str, place: Path, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run_folder(place)
    link = run / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(private.parent if name == "splits/used" else private)
    before = sorted(run.rglob("*"))
    refusal(lambda: lock_run_folder(run), OutsideFileError, str(link), "outside of the folder")
    refused(["report", "run", str(run)], capsys, str(link), "outside of the folder")
    assert sorted(run.rglob("*")) == before
    assert private.read_text() == PRIVATE
    assert [path.name for path in private.parent.iterdir()] == ["key"]


def test_a_lock_that_is_a_link_to_a_file_of_the_run_is_not_truncated(place: Path) -> None:
    run = _run_folder(place)
    (run / ".lock").symlink_to("config.yaml")
    with pytest.raises(UsageError, match="Cannot write the run folder"):
        lock_run_folder(run)
    assert (run / "config.yaml").read_text() == "seed_everything: 0\n"


def test_links_inside_a_run_folder_are_its_own_business(place: Path) -> None:
    run = _run_folder(place)
    (run / "wandb" / "offline-run-1").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("offline-run-1")
    (place / "runs" / "foreign" / "latest").symlink_to("one")
    assert lock_run_folder(place / "runs" / "foreign" / "latest") == []
    unlock_folder(place / "runs" / "foreign" / "latest")


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [
        ("wandb/offline-run-1/logs/debug-core.log", True),
        ("wandb/offline-run-1/files/debug-core.log", False),
        ("splits/wandb/offline-run-1/logs/debug-core.log", False),
    ],
)
def test_of_links_out_only_that_of_wandb_s_own_log_is_left(
    name: str, is_fine: bool, place: Path, private: Path
) -> None:
    run = _run_folder(place)
    (run / name).parent.mkdir(parents=True)
    (run / name).symlink_to(private)
    if is_fine:
        refuse_links_out(run)
    else:
        refusal(lambda: refuse_links_out(run), OutsideFileError, name)


@pytest.mark.parametrize("make", [os.mkfifo], ids=["pipe"])
def test_pipes_in_a_run_folder_are_refused(make: Callable[[Path], None], place: Path) -> None:
    run = _run_folder(place)
    make(run / "environment.json")
    refusal(lambda: refuse_links_out(run), OutsideFileError, "environment.json", "pipe")
    refusal(lambda: read_inside(run / "environment.json", run), OutsideFileError, "no regular file")


@pytest.mark.parametrize("target", ["file", "folder"])
def test_records_behind_links_reach_no_dashboard(target: str, place: Path, private: Path) -> None:
    run = _run_folder(place)
    if target == "folder":
        (run / "splits").symlink_to(private.parent)
    else:
        (run / "splits").mkdir()
        (run / "splits" / "used.txt").symlink_to(private)
    refusal(lambda: list(read_records(run)), OutsideFileError, "outside of the folder", str(run))


def test_records_that_are_too_large_are_refused(place: Path) -> None:
    run = _run_folder(place)
    with (run / "environment.json").open("wb") as stream:
        stream.truncate(LARGEST_RECORD + 1)
    refusal(lambda: list(read_records(run)), OutsideFileError, "environment.json", str(LARGEST_RECORD))


def test_records_of_a_run_are_read_as_they_are(place: Path) -> None:
    run = _run_folder(place)
    write_whole(run / "splits" / "used" / "a.txt", b"00001D\n")
    found = dict(read_records(run))
    assert found == {Path("config.yaml"): b"seed_everything: 0\n", Path("splits/used/a.txt"): b"00001D\n"}
    assert report_run([run]) == 0
    assert "00001D" in (run / "report.html").read_text(encoding="utf-8")


def test_a_link_is_replaced_and_never_written_through(place: Path, private: Path) -> None:
    (place / "table.csv").symlink_to(private)
    write_whole(place / "table.csv", b"ours")
    assert private.read_text() == PRIVATE
    assert not (place / "table.csv").is_symlink()
    assert (place / "table.csv").read_bytes() == b"ours"


def _states(folder: Path, victim: Path) -> dict[str, dict[str, Any]]:
    score, own = torch.tensor(1.0), str(folder / "epoch0000-step0000001.ckpt")
    good = {
        "dirpath": str(folder),
        "best_k_models": {own: score},
        "kth_best_model_path": own,
        "kth_value": score,
        "best_model_path": own,
        "best_model_score": score,
        "last_model_path": str(folder / "last.ckpt"),
        "monitor": "val/VIF",
        "current_score": score,
    }
    climbing = f"{folder}/../../../../{victim.relative_to(folder.parents[3])}"
    return {
        "best climbs out": good | {"best_model_path": climbing},
        "last climbs out": good | {"last_model_path": climbing},
        "ranked climbs out": good | {"best_k_models": {climbing: score}, "kth_best_model_path": climbing},
        "the folder above": good | {"best_model_path": f"{folder}/.."},
        "elsewhere": good | {"best_model_path": str(victim / "kept.txt")},
        "a number": good | {"best_model_path": 7},
        "ranks in words": good | {"best_k_models": {own: "best"}},
        "a worst that is not ranked": good | {"best_k_models": {}},
        "good": good,
    }


@pytest.mark.parametrize("name", _states(Path("/a/b/c/d"), Path("/a/x")))
def test_what_a_checkpoint_ranks_is_neither_removed_nor_kept_as_best(name: str, place: Path) -> None:
    folder, victim = place / "runs" / "a" / "one" / "checkpoints", place / "home" / "results"
    for own in (folder, victim):
        own.mkdir(parents=True)
    (victim / "kept.txt").write_text(PRIVATE)
    callback = RunCheckpoint(monitor="val/VIF")
    callback.dirpath = str(folder)
    state = _states(folder, place / "home")[name]
    callback.load_state_dict(state)
    taken = (callback.best_model_path, callback.last_model_path, callback.best_k_models)
    if name == "good":
        assert taken == (state["best_model_path"], state["last_model_path"], state["best_k_models"])
    else:
        assert taken == ("", "", {})
    trainer = quiet_trainer(place)
    for path in (state["best_model_path"], state["last_model_path"], *state["best_k_models"]):
        callback._remove_checkpoint(trainer, str(path))
    assert (victim / "kept.txt").read_text() == PRIVATE
    assert folder.is_dir()


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_by_another_path_keeps_its_best_alone(kept: bool, place: Path) -> None:
    folder = place / "checkpoints"
    folder.mkdir()
    best = (folder if kept else place) / "epoch0001.ckpt"
    best.write_text("a checkpoint")
    callback = RunCheckpoint(monitor="val/VIF")
    callback.dirpath = "checkpoints"
    callback.load_state_dict({"dirpath": str(folder), "best_model_path": str(best), "best_k_models": {str(best): 1}})
    assert callback.best_model_path == (str(best) if kept else "")
    assert callback.best_k_models == {}


def test_of_its_own_folder_only_files_are_removed(place: Path) -> None:
    folder = place / "checkpoints"
    (folder / "deep.ckpt").mkdir(parents=True)
    (place / "kept.txt").write_text(PRIVATE)
    (folder / "link.ckpt").symlink_to(place / "kept.txt")
    (folder / "epoch0001.ckpt").write_text("old")
    callback = RunCheckpoint()
    callback.dirpath = str(folder)
    for name in ("deep.ckpt", "link.ckpt", "epoch0001.ckpt", "missing.ckpt"):
        callback._remove_checkpoint(quiet_trainer(place), str(folder / name))
    assert sorted(path.name for path in folder.iterdir()) == ["deep.ckpt", "link.ckpt"]


def test_resuming_a_foreign_checkpoint_removes_no_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--images.images_per_dataset=0", "--trainer.limit_val_batches=0")
    accepted(tiny_run("fit", place / "runs", *small), capsys)
    run, victim = newest_run(place / "runs"), place / "home"
    victim.mkdir()
    (victim / "kept.txt").write_text(PRIVATE)
    last = run / "checkpoints" / "last.ckpt"
    stored = torch.load(last, weights_only=True)
    (state,) = (value for key, value in stored["callbacks"].items() if key.startswith("RunCheckpoint"))
    state["best_model_path"] = f"{state['dirpath']}/{os.path.relpath(victim, run / 'checkpoints')}"
    state["best_k_models"] = {state["best_model_path"]: torch.tensor(0.0)}
    torch.save(stored, last)
    accepted(["fit", f"--resume={run}", "--trainer.max_epochs=2"], capsys)
    assert (victim / "kept.txt").read_text() == PRIVATE
    assert last.is_file()


def test_only_stores_of_the_run_are_removed(place: Path) -> None:
    kept = ["other-epoch0000", "previous-epochs", "previous-epoch0", "previous-epoch0003", "thesis-epoch12"]
    for name in [*kept, "previous-epoch0001"]:
        (place / name / "msrs").mkdir(parents=True)
        (place / name / "msrs" / "a.png").write_text("a picture")
    (place / "previous-epoch0003" / STORE_RECORD).write_text('{"epoch": 7}')
    (place / "previous-epoch0001" / STORE_RECORD).write_text('{"epoch": 1}')
    callback = PreviousResults(place / "previous")
    callback._needed = 99
    callback._make_room()
    assert sorted(path.name for path in place.iterdir()) == sorted(kept)
    star = PreviousResults(place / "*")
    star._needed = 99
    star._make_room()
    assert sorted(path.name for path in place.iterdir()) == sorted(kept)


def test_a_folder_in_the_way_of_a_store_is_not_replaced(place: Path) -> None:
    for name in ("previous", "previous-epoch0002"):
        (place / name).mkdir()
    (place / "previous" / STORE_RECORD).write_text('{"epoch": 2}')
    (place / "previous-epoch0002" / "notes.txt").write_text(PRIVATE)
    refusal(PreviousResults(place / "previous")._make_room, FileExistsError, "previous-epoch0002", "previous_dir")
    assert stored_epoch(place / "previous") == 2


def _prediction(root: Path, out: Path) -> list[str]:
    data = ("--data=folder.yaml", f"--data.init_args.root={root}", "--data.init_args.predict_stage=all")
    return tiny_run("predict", out.parent / "runs", "--allow_random_weights", f"--output_dir={out}", data=data)


def test_sources_are_not_taken_for_results(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(32, 40))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    refused(_prediction(root, root / "vi"), capsys, "--output_dir", str(root / "vi"), "apart from the data")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_pictures_without_a_record_are_not_taken_for_results(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(32, 40))
    (place / "out").mkdir()
    name = next((root / "vi").glob("*.png")).name
    (place / "out" / name).write_bytes(b"mine")
    refused(_prediction(root, place / "out"), capsys, f"'{place / 'out' / name}' is there", "predictions.json")
    assert [path.name for path in (place / "out").iterdir()] == [name]
    assert (place / "out" / name).read_bytes() == b"mine"


@pytest.mark.parametrize("where", ["vi", "vi/fused", ".", "..", "link", "fused"])
def test_no_folder_in_or_around_the_sources_is_written_into(where: str, place: Path) -> None:
    root = write_folder(place / "data", count=1, size=(32, 40))
    (root / "link").symlink_to("ir")
    data = FolderDataModule(root=root, predict_stage="all")
    if where == "fused":
        refuse_sources(root / where, data, "all", "--output_dir")
        return
    with pytest.raises(UsageError, match=r"--output_dir .* apart from the data"):
        refuse_sources(root / where, data, "all", "--output_dir")


def test_a_picture_record_behind_a_link_is_refused(place: Path, private: Path) -> None:
    (place / "out" / "detections").mkdir(parents=True)
    (place / "out" / "detections" / "a.json").symlink_to(private)
    refusal(lambda: lock_run_folder(place / "out", "output", "--output_dir"), OutsideFileError, "a.json")
    assert json.dumps(PRIVATE) not in "".join(path.name for path in (place / "out").iterdir())
