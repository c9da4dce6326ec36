"""Ignored regions in the losses: to see their class there costs nothing, and all else costs what it did."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.contracts.batch import Targets
from ivif.models.detection import Detector, DetectorConfig, build_detector
from ivif.models.detection.ignored import ignored_cells
from tests.models.detection.scenes import NAMES, nothing, scenes

OBJECT = [56.0, 12.0, 88.0, 44.0]
LEFT = [0.0, 0.0, 46.0, 64.0]
EVERYTHING = [0.0, 0.0, 96.0, 64.0]


def _targets(box: list[float], label: int) -> Targets:
    return {"boxes": torch.tensor([box]), "labels": torch.tensor([label])}


def _detector(architecture: str) -> Detector:
    torch.manual_seed(0)
    return build_detector(DetectorConfig(architecture, image_size=96), NAMES).eval()


def _learn(detector: Detector, targets: list[Targets]) -> tuple[dict[str, float], Tensor]:
    """The terms of the loss, and its gradient (B, A, classes) by the classes' logits."""
    seen: list[Tensor] = []

    def remember(_module: Any, _inputs: Any, output: Any) -> None:
        scores = output
        if not isinstance(output, Tensor):  # YOLO's
            raw = output[1] if isinstance(output, tuple) else output
            scores = raw["scores"]
        scores.retain_grad()
        seen.append(scores)

    is_yolo = detector.config.architecture.startswith("yolo")
    part: Any = detector.head if is_yolo else detector.get_submodule("model.head.classification_head")
    hook = part.register_forward_hook(remember)
    terms = detector.loss(scenes()[0], targets)
    hook.remove()
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    gradient = seen[0].grad
    assert gradient is not None
    gradient = gradient.transpose(1, 2) if is_yolo else gradient[..., detector.offset :]
    return {name: term.item() for name, term in terms.items()}, gradient


@pytest.mark.parametrize(
    ("architecture", "places"),
    [
        ("yolov5n", 6 * 8 + 3 * 4 + 1 * 2),  # cells of 8, 16 and 32 pixels whose centres are left of column 46
        ("fcos_resnet50", 6 * 8 + 3 * 4 + 2 * 2 + 1 + 1),  # of 8 to 128, which begin at column 0
    ],
)
def test_a_class_is_not_punished_in_its_region_and_all_else_is(architecture: str, places: int) -> None:
    detector = _detector(architecture)
    plain, before = _learn(detector, [_targets(OBJECT, 0), nothing()])
    regions: list[Targets] = [
        {**_targets(OBJECT, 0), "ignored": _targets(LEFT, 1)},
        {**nothing(), "ignored": _targets(LEFT, 1)},
    ]
    terms, after = _learn(detector, regions)
    spared = after == 0
    assert spared.sum(dim=1).tolist() == [[0, places, 0]] * 2
    assert torch.equal(after[~spared], before[~spared])
    (name,) = [name for name in terms if name.startswith("class")]
    assert 0 < terms.pop(name) < plain.pop(name)
    assert terms == pytest.approx(plain)


@pytest.mark.parametrize("architecture", ["yolov5n", "fcos_resnet50"])
def test_an_object_in_a_region_of_its_class_is_learnt(architecture: str) -> None:
    detector = _detector(architecture)
    plain, before = _learn(detector, [_targets(OBJECT, 0), nothing()])
    everywhere: list[Targets] = [
        {**_targets(OBJECT, 0), "ignored": _targets(EVERYTHING, 0)},
        {**nothing(), "ignored": _targets(EVERYTHING, 0)},
    ]
    terms, after = _learn(detector, everywhere)
    assert (after[1, :, 0] == 0).all()
    learnt = after[0, :, 0] != 0
    assert 1 <= int(learnt.sum()) < len(learnt) / 2
    assert torch.equal(after[0, learnt, 0], before[0, learnt, 0])
    assert (after[0, learnt, 0] < 0).any()  # descent raises it
    assert min(terms.values()) > 0
    assert terms != pytest.approx(plain)


def test_ssdlite_takes_no_negative_examples_of_the_class_from_a_region() -> None:
    detector = _detector("ssdlite320")
    _, before = _learn(detector, [_targets(OBJECT, 0), nothing()])
    _, after = _learn(detector, [{**_targets(OBJECT, 0), "ignored": _targets(EVERYTHING, 1)}, nothing()])
    assert (before[0, :, 1] > 0).sum() > (after[0, :, 1] > 0).sum() > 0  # those are the object's own anchors
    _, after = _learn(detector, [{**_targets(OBJECT, 0), "ignored": _targets(LEFT, 1)}, nothing()])
    assert after.isfinite().all()
    assert (after[0, :, 2] != 0).any()


def test_cells_are_told_apart_by_place_and_class() -> None:
    centers = [torch.tensor([[4.0, 4.0], [12.0, 4.0], [4.0, 12.0]])] * 2
    targets: list[Targets] = [nothing(), {**nothing(), "ignored": _targets([0.0, 0.0, 4.0, 8.0], 1)}]
    targets[1]["ignored"] = {"boxes": torch.tensor([[0.0, 0, 4, 3], [5, 0, 8, 3]]), "labels": torch.tensor([1, 0])}
    cells = ignored_cells(centers, targets, 2, lambda boxes: boxes * 2)
    assert cells.tolist() == [[[False] * 2] * 3, [[False, True], [True, False], [False, False]]]
