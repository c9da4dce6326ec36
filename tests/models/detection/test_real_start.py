"""What the original YOLOv5n of COCO is worth as a start on real frames: its backbone and neck, not its head."""

import pytest
import torch
from torchvision.ops import box_iou

from datamodules.datasets.msrs import MSRS
from models.detection import Detector, DetectorConfig, Objects, build_detector
from tests.real_data import COCO_WEIGHTS, REAL_DATA

FRAMES = ("00081D", "00191D")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(not (REAL_DATA / "MSRS").is_dir(), reason=f"no MSRS in '{REAL_DATA}' (set IVIF_REAL_DATA)"),
    pytest.mark.skipif(not COCO_WEIGHTS.is_file(), reason=f"no {COCO_WEIGHTS}"),
]


def _found(detector: Detector, images: torch.Tensor, targets: list[Objects]) -> int:
    """How many objects are found with their class, a score above 0.3 and an IoU above 0.6."""
    count = 0
    for found, wanted in zip(detector.predict(images), targets, strict=True):
        for box, label in zip(wanted["boxes"], wanted["labels"], strict=True):
            own = found["boxes"][(found["scores"] > 0.3) & (found["labels"] == label)]
            count += bool((box_iou(box[None], own) > 0.6).any())
    return count


def test_thirty_steps_from_coco_find_persons_and_cars() -> None:
    """The head is anew: nothing is found before, and from an untrained backbone nothing after as many steps."""
    dataset = MSRS(REAL_DATA, "all")
    samples = [sample for sample in (dataset[index] for index in range(len(dataset))) if sample["name"] in FRAMES]
    images = torch.stack([sample["visible"].float() / 255 for sample in samples])
    targets: list[Objects] = [{**sample["targets"]} for sample in samples]
    assert sum(len(entry["labels"]) for entry in targets) == 12
    counts = []
    for weights in (COCO_WEIGHTS, None):
        torch.manual_seed(0)
        detector = build_detector(DetectorConfig("yolov5n", weights=weights, image_size=320), dataset.classes)
        assert _found(detector, images, targets) == 0
        optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], 1e-3)
        for _ in range(30):
            optimizer.zero_grad()
            torch.autograd.backward(sum(detector.train().loss(images, targets).values(), torch.zeros(())))
            optimizer.step()
        counts.append(_found(detector, images, targets))
    assert counts[0] >= 7
    assert counts[1] == 0
