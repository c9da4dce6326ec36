"""YOLOv5 behind the protocol: gradients, normalisation, modes, isolation from the rest of the process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from ivif.models.detection import Detector, DetectorConfig, build_detector
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
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)
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


def test_an_image_s_loss_does_not_depend_on_its_place() -> None:
    detector = _detector().eval()
    images, targets = scenes()
    forward, backward = detector.loss(images, targets), detector.loss(images.flip(0), targets[::-1])
    for name in forward:
        assert backward[name].item() == pytest.approx(forward[name].item(), rel=1e-4)
    first, second = detector.loss(images, [targets[0], nothing()]), detector.loss(images, [nothing(), targets[1]])
    assert first["box"].item() != pytest.approx(second["box"].item(), rel=1e-4)  # what is told apart at all


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
    detector = _detector()
    terms = detector.loss(images, [nothing(), nothing()])
    assert terms["box"].item() == terms["dfl"].item() == 0
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    bias = detector.get_parameter("model.model.24.cv3.0.2.bias")
    assert bias.grad is not None
    assert (bias.grad > 0).all()  # descent lowers every class
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


def test_nothing_above_the_threshold_gives_empty_detections() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("yolov5n", image_size=None, score_threshold=1.0), NAMES)
    for entry in detector.predict(scenes()[0]):
        assert (entry["boxes"].shape, entry["scores"].shape, entry["labels"].shape) == ((0, 4), (0,), (0,))
        assert entry["labels"].dtype == torch.int64


def test_no_more_detections_than_asked_for() -> None:
    torch.manual_seed(0)
    config = DetectorConfig("yolov5n", image_size=None, score_threshold=0.0, iou_threshold=1.0, max_detections=7)
    assert [len(entry["scores"]) for entry in build_detector(config, NAMES).predict(scenes()[0])] == [7, 7]


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


def test_what_is_learnt_through_the_letterbox_is_found_in_the_image_s_pixels() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("yolov5n", image_size=64, class_gain=2.0), NAMES)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # the running statistics must follow within few steps
    images, targets = scenes(size=(50, 75))
    optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], 2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(sum(detector.loss(images, targets).values(), torch.zeros(())))
        optimizer.step()
    for entry, wanted in zip(detector.predict(images), targets, strict=True):
        assert box_iou(entry["boxes"][:1], wanted["boxes"]).item() > 0.7
        assert entry["labels"][0] == wanted["labels"][0]
        assert entry["scores"][0] > 0.2


def test_there_is_no_other_yolo() -> None:
    with pytest.raises(ValueError, match="yolov5z"):
        build_detector(DetectorConfig("yolov5z"), NAMES)
    with pytest.raises(ValueError, match="known: yolov5n"):
        build_detector(DetectorConfig("resnet"), NAMES)
    with pytest.raises(ValueError, match="at least one class"):
        build_detector(DetectorConfig(), ())


ISOLATION = """
import json, os, socket, sys
asked = []
def refuse(*arguments, **options):
    asked.append(str(arguments))
    raise OSError("the network was asked")
socket.getaddrinfo = socket.socket.connect = refuse
import cv2, numpy, torch
torch.set_num_threads(2)
cv2.setNumThreads(3)
torch.set_printoptions(precision=7, edgeitems=2, sci_mode=False)
numpy.set_printoptions(precision=5)
os.environ["OMP_NUM_THREADS"] = "7"
import ivif.models.detection
imported = "ultralytics" in sys.modules
def state():
    shown = str(torch.ones(3000) / 3), str(numpy.ones(60) / 3), str(numpy.get_printoptions())
    variables = {name: value for name, value in os.environ.items() if not name.startswith("YOLO_")}
    return [shown, variables, torch.get_num_threads(), cv2.getNumThreads(), torch.save]
before = state()
ivif.models.detection.build_detector(ivif.models.detection.DetectorConfig("yolov5n"), ["person"])
changed = [index for index, (one, other) in enumerate(zip(before, state())) if one != other]
from ultralytics.utils import SETTINGS
print(json.dumps({
    "imported": imported, "changed": changed, "asked": asked, "sync": SETTINGS["sync"],
    "threads": [os.environ["OMP_NUM_THREADS"], torch.get_num_threads()],
}))
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
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "imported": False,
        "changed": [],
        "asked": [],
        "sync": False,
        "threads": ["7", 2],
    }
