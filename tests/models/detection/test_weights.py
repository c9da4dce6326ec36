"""Weights files: what is taken over, what starts anew, what is refused."""

import datetime
import json
import os
import re
import shlex
import socket
import sys
import types
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ivif.models.detection import Detector, DetectorConfig, DetectorWeightsError, build_detector
from ivif.models.detection.weights import load_weights
from ivif.models.detection.yolov5 import YOLOv5Detector, _ultralytics
from tests.archives import damage_a_value
from tests.models.detection.scenes import NAMES
from tests.real_data import COCO_WEIGHTS


def _detector(names: tuple[str, ...] = NAMES, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return build_detector(DetectorConfig("yolov5n"), names)


def _layer(detector: Detector) -> Any:
    """The last layer of the first scale's class branch: one row a class."""
    assert isinstance(detector, YOLOv5Detector)
    return detector.head.cv3[0][2]


def _row(detector: Detector, name: str) -> torch.Tensor:
    row: torch.Tensor = _layer(detector).weight[detector.class_names.index(name)].detach()
    return row


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the network was asked; only recorded, because the errors of a refusal may be caught on their way."""
    seen: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        seen.append(str(arguments))
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return seen


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [("", ".pt"), ("", ".safetensors"), ("model.", ".safetensors"), ("module.detector.", ".safetensors")],
)
def test_an_own_state_comes_back_whole(prefix: str, suffix: str, tmp_path: Path) -> None:
    first, second = _detector(), _detector(seed=1)
    state = {f"{prefix}{name}": value.contiguous() for name, value in first.state_dict().items()}
    path = tmp_path / f"own{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    report = load_weights(second, path)
    assert report.unused == ()
    assert report.matched + len(report.started_anew) == len(state)
    for name, value in first.state_dict().items():
        if ".cv3." not in name or name.split(".")[-2] != "2":  # a state dict does not say which classes its rows are
            assert torch.equal(value, second.state_dict()[name]), name


def test_the_network_s_own_names_fit_too(tmp_path: Path) -> None:
    """Without the detector's `model.`, and without that of ultralytics' model."""
    first = _detector()
    for prefix in ("model.", "model.model."):
        second = _detector(seed=1)
        state = {name.removeprefix(prefix): value.contiguous() for name, value in first.state_dict().items()}
        save_file(state, tmp_path / "own.safetensors")
        assert load_weights(second, tmp_path / "own.safetensors").unused == ()
        name = "model.model.3.conv.weight"
        assert torch.equal(first.state_dict()[name], second.state_dict()[name])


def test_rows_of_coco_by_name_though_the_count_is_the_same(tmp_path: Path) -> None:
    """80 rows are COCO's; a detector of 80 other classes gets those of its persons and cars alone."""
    first = _detector(tuple(f"first {index}" for index in range(80)))
    save_file({name: v.contiguous() for name, v in first.state_dict().items()}, tmp_path / "coco.safetensors")
    second = _detector((*(f"second {index}" for index in range(78)), "Car", "pedestrian"), seed=1)
    untrained = _layer(second).weight.detach().clone()
    assert load_weights(second, tmp_path / "coco.safetensors").reused_classes == ("Car", "pedestrian")
    assert torch.equal(_layer(second).weight[:78], untrained[:78])
    assert torch.equal(_layer(second).weight[78:], _layer(first).weight[[2, 0]])
    assert torch.equal(_layer(second).bias[78:], _layer(first).bias[[2, 0]])


def _named(detector: Detector, path: Path, names: str | None = None, key: str = "names") -> Path:
    """A safetensors file whose header names the classes."""
    state = {name: value.contiguous() for name, value in detector.state_dict().items()}
    save_file(state, path, {key: json.dumps(detector.class_names) if names is None else names})
    return path


@pytest.mark.parametrize("key", ["names", "classes"])
def test_a_safetensors_header_names_the_class_rows(key: str, tmp_path: Path) -> None:
    path = _named(_detector(("car", "person", "dog")), tmp_path / "own.safetensors", key=key)
    first, second = load_file(path), _detector(seed=1)
    untrained = _row(second, "bicycle").clone()
    report = load_weights(second, path)
    assert report.reused_classes == ("person", "car")
    rows = first["model.model.24.cv3.0.2.weight"]
    assert torch.equal(_row(second, "car"), rows[0])
    assert torch.equal(_row(second, "person"), rows[1])
    assert torch.equal(_row(second, "bicycle"), untrained)


def test_with_the_same_classes_everything_comes_back(tmp_path: Path) -> None:
    first, second = _detector(), _detector(seed=1)
    report = load_weights(second, _named(first, tmp_path / "own.safetensors"))
    assert report.started_anew == ()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_names_in_a_header_come_before_the_count_of_rows(tmp_path: Path) -> None:
    """80 rows are taken for COCO's only where nothing is said."""
    first = _detector((*(f"first {index}" for index in range(79)), "car"))
    second = _detector((*(f"second {index}" for index in range(78)), "car", "person"), seed=1)
    assert load_weights(second, _named(first, tmp_path / "own.safetensors")).reused_classes == ("car",)
    assert torch.equal(_row(second, "car"), _row(first, "car"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{0: 'person'}", "must be a JSON list"),
        ('["person", 3]', "must be a JSON list"),
        ("[]", "must be a JSON list"),
        ('["person", "car"]', r"names 2 classes \(person, car\), but the head has rows for 3"),
    ],
)
def test_a_header_that_names_classes_wrongly_is_refused(names: str, message: str, tmp_path: Path) -> None:
    path = _named(_detector(("a", "b", "c")), tmp_path / "own.safetensors", names)
    with pytest.raises(DetectorWeightsError, match=f"own.safetensors.*{message}"):
        load_weights(_detector(), path)


@pytest.mark.parametrize("architecture", ["ssdlite320", "fcos_resnet50"])
def test_heads_of_torchvision_give_their_classes_by_name(architecture: str, tmp_path: Path) -> None:
    """For each anchor there is a row of each class, in SSDlite behind one of the background."""
    config = DetectorConfig(architecture)
    first = build_detector(config, NAMES)
    path = _named(first, tmp_path / "own.safetensors")
    second = build_detector(config, NAMES)
    assert load_weights(second, path).started_anew == ()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    other = build_detector(config, ("lamp", NAMES[2], NAMES[0]))
    untrained = {name: value.clone() for name, value in other.state_dict().items()}
    report = load_weights(other, path)
    assert report.reused_classes == (NAMES[2], NAMES[0])
    rows = {"ssdlite320": ".module_list.", "fcos_resnet50": ".cls_logits."}[architecture]
    for name, value in other.state_dict().items():
        given = first.state_dict()[name]
        if name not in report.started_anew:
            assert torch.equal(value, given), name
            continue
        assert rows in name
        anchors, count = len(value) // (len(NAMES) + first.offset), len(NAMES) + first.offset
        for anchor in range(anchors):
            start = anchor * count + first.offset
            assert torch.equal(value[start + 1], given[start + 2])
            assert torch.equal(value[start + 2], given[start])
            assert torch.equal(value[start], untrained[name][start])
            assert torch.equal(value[anchor * count : start], given[anchor * count : start])


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


M3FD = ("People", "Car", "Bus", "Motorcycle", "Lamp", "Truck")


def _coco() -> tuple[str, ...]:
    """The 80 names that ultralytics' releases have."""
    _ultralytics()
    from ultralytics.utils import ROOT, YAML

    load: Any = YAML.load
    return tuple(load(ROOT / "cfg" / "datasets" / "coco.yaml")["names"].values())


def test_yolov5nu_gives_six_classes_its_whole_class_branch(tmp_path: Path) -> None:
    """Its 80 classes made the branch 80 wide, where six alone make it 64 wide."""
    coco = _coco()
    first, images = _detector(coco), torch.rand(1, 3, 96, 96)
    assert isinstance(first, YOLOv5Detector)
    for name in (name for name in first.state_dict() if ".cv3." in name and "running_var" in name):
        first.state_dict()[name].mul_(0.01)  # so small that another eps would show
    path = _checkpoint(first, tmp_path / "yolov5nu.pt")
    assert load_weights(first, path).started_anew == ()  # rounds as the file does
    second = _detector(M3FD, seed=1)
    untrained = _row(_detector(M3FD, seed=2), "Lamp").shape
    report = load_weights(second, path)
    assert report.reused_classes == ("People", "Car", "Bus", "Motorcycle", "Truck")
    assert {key.rpartition(".")[0] for key in report.started_anew} == {f"model.model.24.cv3.{i}.2" for i in range(3)}
    assert (tuple(_row(second, "Lamp").shape), tuple(untrained)) == ((80, 1, 1), (64, 1, 1))
    assert isinstance(second, YOLOv5Detector)
    with torch.no_grad():
        theirs, ours = first.eval().model(images)[0], second.eval().model(images)[0]
    torch.testing.assert_close(ours[:, :4], theirs[:, :4])
    for name in report.reused_classes:
        index = coco.index({"People": "person"}.get(name, name.lower()))
        torch.testing.assert_close(ours[:, 4 + M3FD.index(name)], theirs[:, 4 + index])


def test_a_head_that_takes_another_width_keeps_what_was_set_about_it(tmp_path: Path) -> None:
    wide, second = _detector(_coco()).state_dict(), _detector(M3FD).half().eval()
    assert isinstance(second, YOLOv5Detector)
    second.head.cv3.requires_grad_(False)
    bias = [branch[2].bias.clone() for branch in second.head.cv3]
    second.fit_head(wide)
    branches = second.head.cv3
    assert branches[0][1].conv.weight.shape == (80, 80, 3, 3)
    assert all(entry.dtype == torch.float16 and not entry.requires_grad for entry in branches.parameters())
    assert not any(module.training for module in branches.modules())
    assert all(torch.equal(branch[2].bias, own) for branch, own in zip(branches, bias, strict=True))
    before = list(second.head.cv3.parameters())
    second.fit_head(second.state_dict())
    assert all(one is other for one, other in zip(before, second.head.cv3.parameters(), strict=True))


def test_a_checkpoint_of_the_same_classes_is_taken_over_whole(asked: list[str], tmp_path: Path) -> None:
    first, second = _detector(), _detector(seed=1)
    report = load_weights(second, _checkpoint(first, tmp_path / "yolov5nu.pt"))
    assert (report.started_anew, report.unused, report.reused_classes) == ((), (), ())
    for name, value in first.state_dict().items():
        assert torch.allclose(value.float(), second.state_dict()[name].float(), rtol=2e-3, atol=1e-6), name
    assert asked == []


def test_a_checkpoint_may_have_any_name(asked: list[str], tmp_path: Path) -> None:
    """ultralytics would look for some of these under other names, and then on the network."""
    first, second = _detector(), _detector(seed=1)
    path = _checkpoint(first, tmp_path / "whole.pt")
    for name in ("yolov5n.pt", "o'neil.pt", "best.ckpt", "two words.pt"):
        path = path.rename(tmp_path / name)
        with torch.no_grad():
            _layer(second).weight.zero_()
        assert load_weights(second, path).started_anew == ()
        assert torch.allclose(_row(second, "car"), _row(first, "car"), atol=1e-3)
    assert asked == []


def test_a_damaged_file_stays_where_it_is(asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ultralytics would delete this one, because of its name, and download it again."""
    whole = _checkpoint(_detector(), tmp_path / "whole.pt").read_bytes()
    monkeypatch.chdir(tmp_path)
    Path("yolov5nu.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DetectorWeightsError, match=r"yolov5nu\.pt"):
        load_weights(_detector(), Path("yolov5nu.pt"))
    assert Path("yolov5nu.pt").stat().st_size == len(whole) // 2
    assert asked == []


@pytest.mark.parametrize("kind", ["state dict", "network"])
def test_a_file_with_another_value_is_refused(kind: str, asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if kind == "network":
        _checkpoint(_detector(), path)
    else:
        torch.save(_detector().state_dict(), path)
    damage_a_value(path)
    with pytest.raises(DetectorWeightsError, match=r"weights\.pt.*data/0"):
        load_weights(_detector(), path)
    assert asked == []


def test_the_original_yolov5_is_refused_with_what_to_take(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files name classes of a `models.yolo`, which must not be looked for in this repository's `models`."""
    legacy = types.ModuleType("models.yolo")
    network = type("DetectionModel", (nn.Sequential,), {"__module__": "models.yolo"})
    legacy.DetectionModel = network  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "models.yolo", legacy)
        torch.save({"model": network(nn.Conv2d(3, 16, 6)).half(), "ema": None, "epoch": -1}, tmp_path / "yolov5n.pt")
    with pytest.raises(DetectorWeightsError, match=r"original YOLOv5.*do not load; take yolov5nu\.pt"):
        load_weights(_detector(), tmp_path / "yolov5n.pt")
    assert "models.yolo" not in sys.modules
    assert asked == []


def test_without_a_safe_loader_no_checkpoint_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _checkpoint(_detector(), tmp_path / "yolov5nu.pt")
    monkeypatch.setattr("ultralytics.nn.tasks._SafeLoad.SUPPORTED", False)
    with pytest.raises(DetectorWeightsError, match="may run code"):
        load_weights(_detector(), path)


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
    """Touches a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch {shlex.quote(str(self.trace))}",))


@pytest.fixture(scope="module")
def useless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are no weights; `ran` appears in it if one's code is run."""
    folder = tmp_path_factory.mktemp("useless")
    save_file({"weight": torch.ones(1000)}, folder / "whole.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:2000])
    (folder / "text.safetensors").write_text("no weights")
    (folder / "text.pt").write_text("no weights")
    (folder / "empty.pt").touch()
    torch.save({"model": _Code(folder / "ran"), "ema": None}, folder / "code.pt")
    torch.save({"epoch": 3}, folder / "yolov5n.pt")
    torch.save(torch.ones(3), folder / "tensor.pt")
    torch.save([torch.ones(3)], folder / "list.pt")
    return folder


@pytest.fixture(scope="module", params=["yolov5n", "ssdlite320"])
def untrained(request: pytest.FixtureRequest) -> Detector:
    """One detector for all files that it refuses."""
    return build_detector(DetectorConfig(request.param), NAMES)


@pytest.mark.parametrize(
    "name",
    [
        *("cut.safetensors", "text.safetensors", "text.pt", "empty.pt"),
        *("code.pt", "yolov5n.pt", "tensor.pt", "list.pt", "missing.pt", "missing.safetensors", "."),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(
    name: str, untrained: Detector, useless: Path, asked: list[str]
) -> None:
    before = {name: value.clone() for name, value in untrained.state_dict().items()}
    with pytest.raises(DetectorWeightsError, match=re.escape(str(useless / name))):
        load_weights(untrained, useless / name)
    assert all(torch.equal(value, before[name]) for name, value in untrained.state_dict().items())
    assert not (useless / "ran").exists()
    assert asked == []


def test_a_missing_official_file_is_not_downloaded(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DetectorWeightsError, match="none is downloaded"):
        build_detector(DetectorConfig(weights="yolov5nu.pt"), NAMES)
    assert list(tmp_path.iterdir()) == []
    assert asked == []


def test_a_state_of_torchvision_comes_back_but_for_its_classes(tmp_path: Path) -> None:
    config = DetectorConfig("ssdlite320")
    first, second = build_detector(config, NAMES), build_detector(config, NAMES[:2])
    for prefix in ("model.", "none"):
        state = {name.removeprefix(prefix): value for name, value in first.state_dict().items()}
        torch.save(state, tmp_path / "ssd.pt")
        report = load_weights(second, tmp_path / "ssd.pt")
        assert all("classification_head" in name for name in report.started_anew)
        for name, value in second.state_dict().items():
            assert name in report.started_anew or torch.equal(value, first.state_dict()[name]), name
    wrong = next(iter(state))
    torch.save(state | {wrong: torch.zeros(1)}, tmp_path / "ssd.pt")
    with pytest.raises(DetectorWeightsError, match=f"another network.*1 of .*{re.escape(wrong)}"):
        load_weights(second, tmp_path / "ssd.pt")


@pytest.mark.real
@pytest.mark.skipif(not COCO_WEIGHTS.is_file(), reason=f"no {COCO_WEIGHTS}")
def test_the_original_yolov5_gives_all_but_its_head() -> None:
    detector = _detector()
    report = load_weights(detector, COCO_WEIGHTS)
    head = {name for name in detector.state_dict() if name.startswith("model.model.24.")}
    assert set(report.started_anew) == head
    assert report.matched == len(detector.state_dict()) - len(head)
    assert report.reused_classes == ()
    read = load_file(COCO_WEIGHTS)
    taken = detector.state_dict()
    names = [name for name in taken if name not in head and name.removeprefix("model.") in read]
    assert len(names) == report.matched
    assert all(torch.equal(taken[name].float(), read[name.removeprefix("model.")].float()) for name in names)
