"""Losses and gradients of two processes against those of the joined batch; run by test_two_process_loss.py."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from ivif.contracts.batch import Targets
from ivif.models.detection import Detector, DetectorConfig, build_detector
from tests.models.detection.scenes import NAMES, nothing, scenes

WATCHED = "model.model.24.cv2.0.2.weight"


def cases() -> dict[str, tuple[Tensor, list[Targets]]]:
    """Batches of four: boxes on both halves, on the first alone, and nowhere."""
    images, targets = scenes(4)
    first_only = [targets[0], targets[1], nothing(), nothing()]
    return {
        "uneven": (images, [targets[0], targets[1], nothing(), targets[3]]),
        "first only": (images, first_only),
        "nowhere": (images, [nothing()] * 4),
    }


def measure(detector: Detector, images: Tensor, targets: Sequence[Targets]) -> Tensor:
    """The three terms, and the gradient of one weight."""
    terms = torch.stack(list(detector.loss(images, targets).values()))
    (gradient,) = torch.autograd.grad(terms.sum(), detector.get_parameter(WATCHED))
    return torch.cat([terms.detach(), gradient.flatten()])


def run_rank(rank: int, detector: Detector, folder: Path) -> None:
    """Half of every batch; rank 0 saves the mean over both."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = slice(2 * rank, 2 * rank + 2)
    means = {}
    for name, (images, targets) in cases().items():
        mean = measure(detector, images[half], targets[half])
        distributed.all_reduce(mean)
        means[name] = mean / 2
    if rank == 0:
        torch.save(means, folder / "means.pt")
    distributed.destroy_process_group()


def main(folder: Path) -> None:
    """Prints, for each case, the terms of the joined batch and how far the processes' mean is from it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    detector = build_detector(DetectorConfig("yolov5n", image_size=None), NAMES).eval()
    context = start_processes(run_rank, (detector, folder), 2, join=False, start_method="fork")  # type: ignore[no-untyped-call]
    joined = {name: measure(detector, *batch) for name, batch in cases().items()}
    while not context.join():
        pass
    means = torch.load(folder / "means.pt", weights_only=True)
    result = {}
    for name, expected in joined.items():
        difference = (means[name] - expected).abs()
        result[name] = {
            "terms": expected[:3].tolist(),
            "terms_off": difference[:3].max().item(),
            "gradient": expected[3:].abs().max().item(),
            "gradient_off": difference[3:].max().item(),
        }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
