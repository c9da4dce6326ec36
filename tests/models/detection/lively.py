"""An untrained detector that finds much, in any picture, with scores unlike each other."""

import torch
from torch import Tensor, nn

from ivif.contracts.batch import Detections
from ivif.models.detection import DetectorConfig, build_detector
from ivif.models.detection.base import Detector, ListedDetections
from ivif.models.detection.yolov5 import YOLOv5Detector
from tests.models.detection.scenes import NAMES


def lively(config: DetectorConfig) -> Detector:
    """Built of a configuration, in evaluation mode; see `enliven`."""
    torch.manual_seed(0)
    detector = build_detector(config, NAMES)
    enliven(detector)
    return detector


def enliven(detector: Detector) -> None:
    """BatchNorm's statistics of noise, so that activations do not die, and rows of classes that are not all alike."""
    assert isinstance(detector, YOLOv5Detector)
    norms = [module for module in detector.model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the statistics become those of what comes
    detector.model.train()
    with torch.no_grad():
        detector.model(torch.rand(4, 3, 128, 160, generator=torch.Generator().manual_seed(0)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    detector.eval()
    near = -0.7 * torch.arange(16.0).repeat(4)  # borders are near: boxes that do not all cover the picture
    for boxes, classes in zip(detector.head.cv2, detector.head.cv3, strict=True):
        nn.init.normal_(boxes[2].weight, std=0.1)
        boxes[2].bias.data.copy_(near)
        nn.init.normal_(classes[2].weight, std=0.05)
        nn.init.constant_(classes[2].bias, -2.0)


def as_list(found: list[Detections]) -> ListedDetections:
    """What `predict` gives as one list."""
    pictures = [torch.full((len(entry["scores"]),), index) for index, entry in enumerate(found)]
    parts: list[list[Tensor]] = [[entry["boxes"] for entry in found], [entry["scores"] for entry in found]]
    return ListedDetections(*map(torch.cat, (*parts, [entry["labels"] for entry in found], pictures)))
