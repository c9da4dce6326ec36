"""Run by `test_detection.py`: the same detections in one process, and shared and partly repeated between two."""

import multiprocessing
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import torch.distributed

from ivif.contracts.batch import Detections, Targets
from ivif.metrics.detection import DetectionMetrics

NAMES = ("person", "car", "lamp")


def score(metrics: DetectionMetrics, index: int, shift: float = 0.0) -> None:
    """Adds image number `index`: some objects, and detections near them."""
    generator = torch.Generator().manual_seed(index)
    corners = torch.rand(6, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 20 + 20 * torch.rand(6, 2, generator=generator)], dim=1)
    labels = torch.randint(2, (6,), generator=generator)
    moved = boxes + 3 * torch.randn(6, 4, generator=generator) + shift
    found: Detections = {"boxes": moved, "scores": torch.rand(6, generator=generator), "labels": labels}
    wanted: Targets = {"boxes": boxes[: index + 1], "labels": labels[: index + 1]}
    metrics.update([found], [wanted], [("first", "second")[index % 3 == 0]], [str(index)])


def compare(rank: int, images: int) -> bool:
    """Whether this process's gathered scores are those of all images."""
    alone, metrics = DetectionMetrics(NAMES), DetectionMetrics(NAMES)
    for index in range(images):
        score(alone, index)
    for index in range(rank, images, 2):
        score(metrics, index)
    if rank == 1 and images > 1:
        score(metrics, 0, shift=9.0)  # as a sampler does to fill the last batch; the first process's counts
    report = repr(metrics.report())
    torch.distributed.destroy_process_group()
    return report == repr(alone.report())


def work(rank: int, counts: list[int], folder: str) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    for images in counts:
        store = f"file://{folder}/{images}"
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
        same = compare(rank, images)
        if rank == 0:
            sys.stdout.write(f"{images} images: {'same' if same else 'different'}\n")
        elif not same:
            sys.exit("The second process has other scores.")


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    counts = [int(argument) for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=work, args=(rank, counts, folder)) for rank in (0, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(100)
            if process.is_alive():
                process.kill()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))
