"""Weights files: what is taken over, what starts anew, what is refused."""

import datetime
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.detection import Detector, DetectorConfig, DetectorWeightsError, build_detector
from models.detection.weights import load_weights
from models.detection.yolov5 import YOLOv5Detector
from tests.models.detection.scenes import NAMES

SHARED = Path(os.environ.get("IVIF_REAL_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")).parent
COCO = SHARED / "weights" / "yolov5n_coco.safetensors"


def _detector(names: tuple[str, ...] = NAMES, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return build_detector(DetectorConfig("yolov5n"), names)


def _row(detector: Detector, name: str) -> torch.Tensor:
    assert isinstance(detector, YOLOv5Detector)
    layer: Any = detector.head.cv3[0][2]
    row: torch.Tensor = layer.weight[detector.class_names.index(name)].detach()
    return row


@pytest.mark.parametrize("prefix", ["", "module.", "detector."])
def test_an_own_state_comes_back_whole(prefix: str, tmp_path: Path) -> None:
    first, second = _detector(), _detector(seed=1)
    state = {f"{prefix}{name}": value.contiguous() for name, value in first.state_dict().items()}
    save_file(state, tmp_path / "own.safetensors")
    report = load_weights(second, tmp_path / "own.safetensors")
    assert report.unused == ()
    for name, value in first.state_dict().items():
        if ".cv3." not in name or name.split(".")[-2] != "2":  # a state dict does not say which classes its rows are
            assert torch.equal(value, second.state_dict()[name]), name


def _checkpoint(detector: Detector, path: Path) -> Path:
    """A file as ultralytics' trainer writes it: the model itself, in half precision, beside its settings."""
    assert isinstance(detector, YOLOv5Detector)
    model = deepcopy(detector.model).half()
    del model.args
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": model,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": {"task": "detect", "mode": "train"},
        "date": datetime.datetime(2024, 1, 1).isoformat(),
        "version": "8.0.0",
        "license": "AGPL-3.0",
    }
    torch.save(content, path)
    return path


def test_a_checkpoint_of_ultralytics_gives_its_classes_by_name(tmp_path: Path) -> None:
    first = _detector(("car", "person", "dog"))
    path = _checkpoint(first, tmp_path / "yolov5nu.pt")
    second = _detector(seed=1)
    untrained = _row(second, "bicycle").clone()
    report = load_weights(second, path)
    assert report.reused_classes == ("person", "car")
    assert torch.allclose(_row(second, "person"), _row(first, "person"), atol=1e-3)
    assert torch.allclose(_row(second, "car"), _row(first, "car"), atol=1e-3)
    assert torch.equal(_row(second, "bicycle"), untrained)
    assert all(".cv3." in name for name in report.started_anew)


def test_rows_of_other_classes_are_not_taken_over(tmp_path: Path) -> None:
    path = _checkpoint(_detector(("cat", "dog", "cow")), tmp_path / "yolov5nu.pt")
    second = _detector(seed=1)
    before = [_row(second, name).clone() for name in NAMES]
    assert load_weights(second, path).reused_classes == ()
    assert all(torch.equal(row, _row(second, name)) for row, name in zip(before, NAMES, strict=True))


def test_names_may_differ_in_case_and_number(tmp_path: Path) -> None:
    path = _checkpoint(_detector(("person", "car", "dog")), tmp_path / "yolov5nu.pt")
    assert load_weights(_detector(("People", "Car", "Lamp")), path).reused_classes == ("People", "Car")
    anew = _detector(("People", "Car", "Lamp"))
    assert load_weights(anew, path, reuse_classes=False).reused_classes == ()


def test_another_size_is_refused(tmp_path: Path) -> None:
    small = build_detector(DetectorConfig("yolov5s"), NAMES)
    save_file({name: value.contiguous() for name, value in small.state_dict().items()}, tmp_path / "s.safetensors")
    with pytest.raises(DetectorWeightsError, match=r"another network.*model\.model\.0\.conv\.weight"):
        load_weights(_detector(), tmp_path / "s.safetensors")


class _Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch /tmp/ivif-detector-code-ran",))


def test_files_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"model": _Code()}, tmp_path / "code.pt")
    torch.save({"epoch": 3}, tmp_path / "yolov5n.pt")
    for name in ("cut.safetensors", "text.pt", "code.pt", "yolov5n.pt"):
        with pytest.raises(DetectorWeightsError, match=name.replace(".", r"\.")):
            load_weights(_detector(), tmp_path / name)
    assert not Path("/tmp/ivif-detector-code-ran").exists()


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(DetectorWeightsError, match="none is downloaded"):
        load_weights(_detector(), tmp_path / "yolov5nu.pt")


@pytest.mark.real
@pytest.mark.skipif(not COCO.is_file(), reason=f"no {COCO}")
def test_the_original_yolov5_gives_all_but_its_head() -> None:
    detector = _detector()
    report = load_weights(detector, COCO)
    assert all(name.startswith("model.model.24.") for name in report.started_anew)
    assert report.matched == sum(not name.startswith("model.model.24.") for name in detector.state_dict())
