"""Metrics on the pretend device: every metric under every convention, and what keeps them over a run."""

import pytest
import torch
from torch import Tensor

from ivif.metrics.conventions import CONVENTIONS
from ivif.metrics.detection import DetectionMetrics
from ivif.metrics.functional.formula_images import formula_triplet
from ivif.metrics.functional.triplet import Triplet
from ivif.metrics.fusion import FusionMetrics
from ivif.metrics.registry import METRICS

LARGE = (176, 180)
"""What MS-SSIM needs."""


def _images() -> list[Tensor]:
    """Fused, infrared, visible: whole grey levels, (2, 1, H, W)."""
    fused, infrared, visible = formula_triplet("average")
    first = [image.round()[..., : LARGE[0], : LARGE[1]] for image in (fused, infrared, visible)]
    return [torch.cat([image, image.flip(-1)]) for image in first]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_gives_the_cpus_figures(name: str, gpu: torch.device) -> None:
    images = _images()
    scores = CONVENTIONS[name].score(Triplet(*(image.to(gpu) for image in images)), list(METRICS))
    reference = CONVENTIONS[name].score(Triplet(*images), list(METRICS))
    assert list(scores) == list(METRICS)
    for metric, values in scores.items():
        assert values.device == gpu, metric
        assert torch.equal(values.cpu().nan_to_num(-1), reference[metric].nan_to_num(-1)), metric


def test_a_run_of_fusion_metrics(gpu: torch.device) -> None:
    images, found = _images(), []
    for device in (gpu, torch.device("cpu")):
        metrics = FusionMetrics(["EN", "SSIM", "Qabf", "VIF"]).to(device)
        for number in range(2):
            batch = [(image / 255)[number:][:1].to(device) for image in images]
            metrics.update(batch[0], batch[1], batch[2], dataset=["made"], name=[str(number)])
        found.append((metrics.per_image(), {name: float(value) for name, value in metrics.compute().items()}))
    assert found[0] == found[1]


def test_a_run_of_detection_metrics(gpu: torch.device) -> None:
    boxes, labels = torch.tensor([[2.0, 3.0, 20.0, 30.0], [5.0, 5.0, 40.0, 40.0]]), torch.tensor([0, 1])
    found = []
    for device in (gpu, torch.device("cpu")):
        metrics = DetectionMetrics(["person", "car"])
        seen = {
            "boxes": (boxes + 1).to(device),
            "scores": torch.tensor([0.9, 0.4], device=device),
            "labels": labels.to(device),
        }
        wanted = {"boxes": boxes.to(device), "labels": labels.to(device)}
        metrics.update([seen], [wanted], ["made"], ["a"])  # type: ignore[list-item]
        found.append(metrics.compute())
    assert found[0] == found[1]
    assert found[0]["mAP50"] == 1.0
