"""`predict` of a task that detects, through `main.py`: its files, resuming, and what a folder refuses."""

import json
from pathlib import Path

import pytest
from PIL import Image

from commands.cli import main
from models.detection.base import DetectorConfig

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


def test_with_nothing_left_to_do_they_are_gathered_all_the_same(tmp_path: Path) -> None:
    assert _predict(tmp_path) == 0
    results = tmp_path / "out" / "detections.json"
    before = results.read_bytes()
    results.unlink()
    assert _predict(tmp_path) == 0
    assert results.read_bytes() == before


def test_a_folder_keeps_to_one_choice_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path) == 0
    assert _predict(tmp_path, "--boxes.yolo=true") == 1
    message = capsys.readouterr().err
    assert "pictures made otherwise" in message
    assert "yolo" in message


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
