"""Torchvision's detectors behind the protocol."""

import torch

from models.detection import DetectorConfig, build_detector
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
