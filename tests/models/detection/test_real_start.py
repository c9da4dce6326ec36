"""What the original YOLOv5n of COCO is worth as a start on real frames: its backbone and neck, not its head."""

import pytest
import torch
from torchvision.ops import box_iou

from ivif.bilevel import Descent, Level, LevelLoss, Objective
from ivif.bilevel.level import drop_gradients
from ivif.contracts.batch import Targets
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.pair_transforms import resize
from ivif.models.detection import Detector, DetectorConfig, build_detector
from tests.real_data import COCO_WEIGHTS, REAL_DATA

FRAMES = ("00081D", "00191D")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(not (REAL_DATA / "MSRS").is_dir(), reason=f"no MSRS in '{REAL_DATA}' (set IVIF_REAL_DATA)"),
    pytest.mark.skipif(not COCO_WEIGHTS.is_file(), reason=f"no {COCO_WEIGHTS}"),
]


def _found(detector: Detector, images: torch.Tensor, targets: list[Targets]) -> int:
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
    targets: list[Targets] = [{**sample["targets"]} for sample in samples]
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


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_of_six_real_frames_give_the_gradient_of_the_whole(parts: int) -> None:
    """11, 13, 13, 1, 1 and 22 objects, and a start that assigns well: divided by parts, it is off by as much again."""
    dataset = M3FD(REAL_DATA / "M3FD", "all")
    samples = [resize(dataset[index], (480, 640), dataset.reading.box_rule) for index in (0, 3, 7, 11, 15, 19)]
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("yolov5n", weights=COCO_WEIGHTS, image_size=640), dataset.classes).eval()

    def loss(frames: list[int]) -> LevelLoss:
        images = torch.stack([samples[index]["visible"].float() / 255 for index in frames])
        found = detector.counted_loss(images, [samples[index]["targets"] for index in frames])
        return LevelLoss(torch.stack(list(found.terms.values())).sum(), found.count)

    parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    level = Level("upper", parameters, loss, lambda: None, lambda: drop_gradients(parameters), detector, size=len)
    gradients = []
    for number in (1, parts):
        descent = Descent(
            [level], lambda frames, n: [frames[start : start + 6 // n] for start in range(0, 6, 6 // n)], number
        )
        values = descent.gather(Objective([(level, 1)], [level]), list(range(6)), torch.autograd.backward)
        gradients.append((values[0], level.gradient()))
    (whole, expected), (joined, found) = gradients
    torch.testing.assert_close(joined, whole, rtol=1e-5, atol=0)
    assert float((found - expected).norm() / expected.norm()) < 5e-5  # the frames' order alone is worth 1e-5
