"""`predict` of a task that detects, through `main.py`: its files, resuming, and what a folder refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.callbacks.prediction_record import RECORD
from ivif.commands.cli import main
from ivif.commands.train.predictions import model_settings
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.detection.base import DetectorConfig
from tests.inputs import brings
from tests.processes import holder_of
from tests.refusals import whole

LINE = (
    "predict",
    "--config=detection.yaml",
    "--data=synthetic.yaml",
    "--data.init_args.evaluation_length=2",
    "--data.init_args.size=[64,64]",
    "--transforms.resize=[64,64]",
    "--loading.batch_size=2",
    "--loading.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--allow_random_weights",
    "--model.init_args.detector.score_threshold=0.0",
    "--model.init_args.detector.image_size=64",
)


def _predict(tmp_path: Path, *options: str) -> int:
    return main([*LINE, f"--runs_dir={tmp_path / 'runs'}", f"--output_dir={tmp_path / 'out'}", *options])


def test_detections_are_written_resumed_and_gathered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--boxes.yolo=true", "--boxes.draw=true", "--boxes.score=0.001")
    assert _predict(tmp_path, *options) == 0
    out = tmp_path / "out"
    pictures = sorted(path.stem for path in out.glob("*.png"))
    assert len(pictures) == 2
    for folder, suffix in (("detections", "json"), ("labels", "txt"), ("boxes", "png")):
        names = {path.name for path in (out / folder).iterdir()} - {"classes.txt"}
        assert names == {f"{name}.{suffix}" for name in pictures}
    entries = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert 0 < len(entries) <= 2 * DetectorConfig().max_detections
    assert {entry["file_name"] for entry in entries} == {f"{name}.png" for name in pictures}
    assert {entry["category_name"] for entry in entries} <= {"person", "car", "bicycle", "lamp"}
    assert f"Detections: {out / 'detections.json'}" in capsys.readouterr().out
    before = (out / "detections.json").read_bytes()
    kept = (out / f"{pictures[1]}.png").stat().st_mtime_ns
    (out / "detections" / f"{pictures[0]}.json").unlink()
    (out / "detections.json").unlink()
    assert _predict(tmp_path, *options) == 0
    assert "1 fused images are already" in capsys.readouterr().out
    assert (out / "detections.json").read_bytes() == before
    assert (out / f"{pictures[1]}.png").stat().st_mtime_ns == kept


def test_pairs_fused_together_are_those_fused_alone(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert _predict(tmp_path, f"--output_dir={alone}") == 0
    assert _predict(tmp_path, f"--output_dir={together}", "--loading.predict_batch=2") == 0
    pictures = sorted(alone.glob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        one, other = (np.asarray(Image.open(folder / path.name)).astype(int) for folder in (alone, together))
        assert abs(one - other).max() <= 1
        assert one.std() > 10
    found = [json.loads((folder / "detections.json").read_text(encoding="utf-8")) for folder in (alone, together)]
    assert [entry["file_name"] for entry in found[0]] == [entry["file_name"] for entry in found[1]]
    before = whole(together)
    assert _predict(tmp_path, f"--output_dir={together}") == 0  # of the same settings: everything is there
    assert {name: before[name] for name in before if name.endswith(".png")} == {
        name: state for name, state in whole(together).items() if name.endswith(".png")
    }


def test_with_nothing_left_to_do_they_are_gathered_all_the_same(tmp_path: Path) -> None:
    assert _predict(tmp_path) == 0
    results = tmp_path / "out" / "detections.json"
    before = results.read_bytes()
    results.unlink()
    assert _predict(tmp_path) == 0
    assert results.read_bytes() == before


def test_what_filled_a_folder_is_told_as_before_the_rooms_were_one_package(tmp_path: Path) -> None:
    assert _predict(tmp_path) == 0
    (command,) = json.loads((tmp_path / "out" / RECORD).read_text(encoding="utf-8"))["commands"]
    assert command["data"].startswith("datamodules.")


@brings(
    "options", "a second `predict` into one folder, of other pairs", "works", "pictures, detections and records join"
)
def test_other_pairs_join_those_of_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _predict(tmp_path) == 0
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    detected = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert _predict(tmp_path, "--data.init_args.predict_stage=val", "--data.init_args.evaluation_length=3") == 0
    names = {path.name for path in out.glob("*.png")}
    assert len(names) == 5
    assert {name: (out / name).stat().st_mtime_ns for name in first} == first
    joined = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert {entry["file_name"] for entry in joined} == names
    assert [entry for entry in joined if entry["file_name"] in first] == detected
    commands = json.loads((out / RECORD).read_text(encoding="utf-8"))["commands"]
    assert [len(command["pictures"]) for command in commands] == [2, 3]
    before = whole(out)
    assert _predict(tmp_path) == 0  # the first goes on, and finds everything there
    assert whole(out).keys() == before.keys()


@brings(
    "options", "a second `predict` into one folder, of the same pairs by other settings", "refused", "says what differs"
)
def test_the_same_pairs_by_other_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path) == 0
    assert _predict(tmp_path, "--data.init_args.predict_stage=val") == 0
    before = whole(tmp_path)
    assert _predict(tmp_path, "--grey") == 1
    assert "(colour 'rgb' there, 'grey' now): 2 of the 2 that this command makes" in capsys.readouterr().err
    assert whole(tmp_path) == before


def test_a_folder_keeps_to_one_choice_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path) == 0
    assert _predict(tmp_path, "--boxes.yolo=true") == 1
    message = capsys.readouterr().err
    assert "pictures made otherwise" in message
    assert "yolo" in message


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ours = [tmp_path / "out" / folder / ".00001D-x7.partial" for folder in ("", "detections", "labels", "boxes")]
    others = [tmp_path / "out" / "another" / ".a.partial", tmp_path / "out" / "kept.partial"]
    for path in (*ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert _predict(tmp_path) == 0
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_folder_that_another_process_writes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with holder_of(out) as holder:
        (out / ".unfinished.partial").touch()
        assert _predict(tmp_path) == 1
    assert f"'{out}' is in use by process {holder.pid}" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == [".lock", ".unfinished.partial"]


def test_a_folder_that_cannot_be_written_names_its_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file")
    assert _predict(tmp_path) == 1
    message = capsys.readouterr().err
    assert f"Cannot write the output folder '{tmp_path / 'out'}'" in message
    assert "--output_dir" in message


def test_an_impossible_score_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path, "--boxes.score=25") == 1
    assert "must lie in [0, 1]" in capsys.readouterr().err


def test_pictures_keep_their_own_size_whatever_training_took(tmp_path: Path) -> None:
    assert _predict(tmp_path, "--data.init_args.size=[61,47]", "--transforms.resize=[64,64]") == 0
    out = tmp_path / "out"
    assert {Image.open(path).size for path in out.glob("*.png")} == {(47, 61)}
    for path in (out / "detections").glob("*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        assert (found["width"], found["height"]) == (47, 61)
        assert max(entry["bbox"][0] + entry["bbox"][2] for entry in found["detections"]) <= 47.01


def test_another_list_of_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "classes.txt").write_text("bus\n")
    before = whole(tmp_path)
    assert _predict(tmp_path, "--boxes.yolo=true") == 1
    assert "lists bus, and the classes here are" in capsys.readouterr().err
    assert whole(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--model.init_args.detector.score_threshold=0.5", "model.detector.score_threshold '0.0' there"),
        ("--model.init_args.source.kind=infrared", "model.source.kind"),
        ("--seed_everything=3", "seed 3"),
    ],
)
def test_other_options_of_the_method_are_refused(
    option: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(tmp_path) == 0
    results = (tmp_path / "out" / "detections.json").read_bytes()
    assert _predict(tmp_path, option) == 1
    message = capsys.readouterr().err
    assert named in message
    assert len(message) < 400
    assert (tmp_path / "out" / "detections.json").read_bytes() == results


def test_options_of_training_alone_are_not_compared(tmp_path: Path) -> None:
    assert _predict(tmp_path) == 0
    assert _predict(tmp_path, "--model.init_args.schedule.peak=0.5", "--model.init_args.training.freeze=[]") == 0


def test_a_file_that_was_replaced_counts_as_another(tmp_path: Path) -> None:
    settings = {"init_args": {"source": {"checkpoint": str(tmp_path / "last.ckpt")}, "loss": {"gradient": 1.0}}}
    found = []
    for content in (b"one", b"two"):
        (tmp_path / "last.ckpt").write_bytes(content)
        found.append(model_settings(MGFusionTask, settings, trained=True))
    assert found[0].keys() == found[1].keys() == {"model.init_args.source.checkpoint"}
    assert found[0] != found[1]
