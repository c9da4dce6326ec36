"""YOLOv5 behind the protocol: gradients, normalisation, modes, isolation from the rest of the process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from models.detection import Detector, DetectorConfig, build_detector
from tests.models.detection.scenes import NAMES, nothing, scenes

ROOT = Path(__file__).resolve().parents[3]


def _detector() -> Detector:
    torch.manual_seed(0)
    return build_detector(DetectorConfig("yolov5n", image_size=None), NAMES)


def test_the_loss_reaches_the_image_and_every_trainable_parameter() -> None:
    detector = _detector()
    images, targets = scenes()
    images.requires_grad_(True)
    terms = detector.loss(images, targets)
    assert set(terms) == {"box", "class", "dfl"}
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    without = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    frozen = [name for name, p in detector.named_parameters() if not p.requires_grad]
    assert len(frozen) == 1
    assert "dfl" in frozen[0]


def test_the_loss_does_not_depend_on_the_batch_size() -> None:
    detector = _detector().eval()
    images, targets = scenes()
    once, twice = detector.loss(images, targets), detector.loss(torch.cat([images] * 2), targets * 2)
    for name in once:
        assert twice[name].item() == pytest.approx(once[name].item(), rel=1e-4)


def test_the_gains_weigh_the_terms() -> None:
    images, targets = scenes()
    torch.manual_seed(0)
    plain = build_detector(DetectorConfig("yolov5n", image_size=None), NAMES).eval().loss(images, targets)
    torch.manual_seed(0)
    config = DetectorConfig("yolov5n", image_size=None, box_gain=15.0, class_gain=0.5, dfl_gain=3.0)
    heavy = build_detector(config, NAMES).eval().loss(images, targets)
    ratios = [(heavy[name] / plain[name]).item() for name in ("box", "class", "dfl")]
    assert ratios == pytest.approx([2.0, 1.0, 2.0], rel=1e-4)


def test_images_without_objects_teach_that_there_are_none() -> None:
    images, _ = scenes()
    terms = _detector().loss(images, [nothing(), nothing()])
    assert terms["box"].item() == 0
    assert terms["class"].item() > 0
    assert all(torch.isfinite(term) for term in terms.values())


def test_a_loss_in_evaluation_mode_leaves_the_statistics() -> None:
    detector = _detector().eval()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    detector.loss(*scenes())
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    detector.train().loss(*scenes())
    assert any(not torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_an_inference_poisons_no_later_gradient() -> None:
    detector = _detector().eval()
    images, targets = scenes()
    with torch.inference_mode():
        detector.predict(images)
    images.requires_grad_(True)
    torch.autograd.backward(sum(detector.loss(images, targets).values(), torch.zeros(())))
    assert images.grad is not None


def test_predicting_restores_the_mode_of_every_module() -> None:
    detector = _detector().train()
    detector.get_submodule("model.model.0").eval()
    before = [module.training for module in detector.modules()]
    found = detector.predict(scenes(size=(50, 75))[0])
    assert [module.training for module in detector.modules()] == before
    assert len(found) == 2
    for entry in found:
        assert entry["boxes"].min() >= 0
        assert entry["boxes"][:, 2].max() <= 75
        assert entry["boxes"][:, 3].max() <= 50
        assert entry["scores"].tolist() == sorted(entry["scores"].tolist(), reverse=True)


@pytest.mark.slow
def test_what_is_learnt_is_found() -> None:
    detector = _detector()
    images, targets = scenes()
    optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], 2e-3)
    for _ in range(250):
        optimizer.zero_grad()
        torch.autograd.backward(sum(detector.loss(images, targets).values(), torch.zeros(())))
        optimizer.step()
    for entry, wanted in zip(detector.train().predict(images), targets, strict=True):
        assert box_iou(entry["boxes"][:1], wanted["boxes"]).item() > 0.6
        assert entry["labels"][0] == wanted["labels"][0]


def test_there_is_no_other_yolo() -> None:
    with pytest.raises(ValueError, match="yolov5z"):
        build_detector(DetectorConfig("yolov5z"), NAMES)
    with pytest.raises(ValueError, match="known: yolov5n"):
        build_detector(DetectorConfig("resnet"), NAMES)
    with pytest.raises(ValueError, match="at least one class"):
        build_detector(DetectorConfig(), ())


ISOLATION = """
import json, os, socket, sys
def refuse(*arguments, **options):
    raise AssertionError("the network was asked")
socket.getaddrinfo = socket.socket.connect = refuse
import numpy, torch
torch.set_num_threads(2)
os.environ["OMP_NUM_THREADS"] = "7"
import models.detection
before = "ultralytics" in sys.modules
options = numpy.get_printoptions()["linewidth"], str(torch.ones(60))
models.detection.build_detector(models.detection.DetectorConfig("yolov5n"), ["person"])
after = numpy.get_printoptions()["linewidth"], str(torch.ones(60))
from ultralytics.utils import SETTINGS
print(json.dumps([before, os.environ["OMP_NUM_THREADS"], torch.get_num_threads(), options == after, SETTINGS["sync"]]))
"""


def test_ultralytics_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ISOLATION],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "YOLO_CONFIG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [False, "7", 2, True, False]
