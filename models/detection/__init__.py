"""Detectors behind one protocol: ultralytics' YOLOv5 (AGPL-3.0) and torchvision's (BSD)."""

from collections.abc import Sequence
from pathlib import Path

from ivif.models.detection.base import Detector, DetectorConfig, DetectorWeightsError
from ivif.models.detection.torchvision import OFFSETS, TorchvisionDetector

__all__ = ["Detector", "DetectorConfig", "DetectorWeightsError", "build_detector"]


def build_detector(config: DetectorConfig, class_names: Sequence[str]) -> Detector:
    """The detector that a configuration names, started from its weights file where there is one.

    Args:
        config: Which detector.
        class_names: Name of each label, in order.

    Raises:
        ValueError: If there are no classes, or no such architecture.
        DetectorWeightsError: If the weights file is missing, damaged, or of another network.
    """
    if not class_names:
        raise ValueError("A detector needs at least one class.")
    detector: Detector
    if config.architecture in OFFSETS:
        detector = TorchvisionDetector(config, class_names)
    elif config.architecture.startswith("yolov5"):
        from ivif.models.detection.yolov5 import YOLOv5Detector  # imports ultralytics only where it is asked for

        detector = YOLOv5Detector(config, class_names)
    else:
        known = ", ".join((*(f"yolov5{size}" for size in "nsmlx"), *OFFSETS))
        raise ValueError(f"detector.architecture is '{config.architecture}'; known: {known}.")
    if config.weights is not None:
        from ivif.models.detection.weights import load_weights

        load_weights(detector, Path(config.weights), config.reuse_classes)
    return detector
