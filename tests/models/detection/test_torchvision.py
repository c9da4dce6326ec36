"""Torchvision's detectors behind the protocol."""

import warnings
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ivif.contracts.batch import Targets
from ivif.models.detection import Detector, DetectorConfig, build_detector
from tests.models.detection.scenes import NAMES, nothing, scenes


def test_ssdlite_learns_from_any_image_and_leaves_evaluation_mode_alone() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("ssdlite320"), NAMES).eval()
    images, targets = scenes()
    images.requires_grad_(True)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    terms = detector.loss(images, [targets[0], nothing()])
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(module.training for module in detector.modules())


def test_the_background_is_no_class() -> None:
    """Labels 0..2 are ssdlite's 1..3: what it is taught as the last class it may also answer."""
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("ssdlite320", score_threshold=0.0), NAMES).train()
    images, targets = scenes()
    targets[0]["labels"][:] = 2
    assert all(torch.isfinite(term) for term in detector.loss(images, targets).values())
    found = detector.predict(images)
    labels = torch.cat([entry["labels"] for entry in found])
    assert 0 <= int(labels.min()) <= int(labels.max()) <= 2
    assert all(entry["boxes"][:, 2].max() <= 96 and entry["boxes"][:, 3].max() <= 64 for entry in found)
    assert detector.training


def _detector(architecture: str, **options: Any) -> Detector:
    torch.manual_seed(0)
    return build_detector(DetectorConfig(architecture, image_size=64, **options), NAMES)


def _convince(detector: Detector, column: int) -> None:
    """Makes the network see one column of its own class scores everywhere."""

    def everywhere(_: nn.Module, __: Any, scores: Tensor) -> Tensor:
        certain = scores * 0 - 9
        certain[..., column] += 18
        return certain

    detector.get_submodule("model.head.classification_head").register_forward_hook(everywhere)


@pytest.mark.parametrize(("architecture", "background"), [("ssdlite320", 1), ("fcos_resnet50", 0)])
def test_a_label_is_the_same_in_loss_and_prediction(architecture: str, background: int) -> None:
    detector = _detector(architecture, score_threshold=0.5).eval()
    _convince(detector, background + 1)
    images, targets = scenes()
    assert {int(label) for entry in detector.predict(images) for label in entry["labels"]} == {1}
    losses = []
    for label in range(len(NAMES)):
        labelled: list[Targets] = [{**entry, "labels": torch.full_like(entry["labels"], label)} for entry in targets]
        losses.append(detector.loss(images, labelled)["classification"].item())
    assert min(losses) == losses[1]
    assert losses[0] == pytest.approx(losses[2], rel=1e-3)
    assert losses[0] > 1.01 * losses[1]


def test_targets_stay_as_they_were() -> None:
    images, targets = scenes()
    copies = deepcopy(targets)
    _detector("ssdlite320").loss(images, targets)
    assert all(torch.equal(entry["labels"], copy["labels"]) for entry, copy in zip(targets, copies, strict=True))
    assert all(torch.equal(entry["boxes"], copy["boxes"]) for entry, copy in zip(targets, copies, strict=True))


def test_the_loss_does_not_depend_on_the_batch_size() -> None:
    detector = _detector("ssdlite320").eval()
    images, targets = scenes()
    once, twice = detector.loss(images, targets), detector.loss(torch.cat([images] * 2), targets * 2)
    for name in once:
        assert twice[name].item() == pytest.approx(once[name].item(), rel=1e-4)


def test_images_without_objects_have_a_finite_loss() -> None:
    images, _ = scenes()
    for term in _detector("ssdlite320").loss(images, [nothing(), nothing()]).values():
        assert torch.isfinite(term)


def test_fcos_is_built_quietly_and_sees_the_size_that_is_asked_for() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = _detector("fcos_resnet50")
    assert all(parameter.requires_grad for parameter in detector.parameters())
    sizes = []
    detector.get_submodule("model.backbone").register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape))
    images = scenes(1, (50, 75))[0].requires_grad_(True)
    found = detector.predict(images)
    assert sizes == [(1, 3, 64, 64)]  # 43 x 64, padded to the stride
    assert found[0]["boxes"][:, 2].max() <= 75
    target: Targets = {"boxes": torch.tensor([[8.0, 12, 48, 44]]), "labels": torch.tensor([2])}
    terms = detector.loss(images, [target])
    assert set(terms) == {"classification", "bbox_regression", "bbox_ctrness"}
    torch.autograd.backward(sum(terms.values(), torch.zeros(())))
    assert images.grad is not None
    assert images.grad.abs().max() > 0
