"""Run by `test_fusion.py`: the same images in one process, and shared and partly repeated between two."""

import multiprocessing
import sys

import torch
import torch.distributed

from ivif.metrics import FusionMetrics
from ivif.metrics.functional import FORMULA_FUSIONS, formula_triplet

NAMES = ["EN", "SCD", "Qabf"]


def score(metrics: FusionMetrics, index: int) -> None:
    """Adds image number `index`, each of its own size."""
    fusion = FORMULA_FUSIONS[index % len(FORMULA_FUSIONS)]
    images = (image / 255 for image in formula_triplet(fusion, 40 + index, 50))
    metrics.update(next(images), next(images), next(images), dataset=["formula"], name=[f"{index}"])


def work(rank: int, images: int, store: str) -> None:
    """One of two processes; rank 0 compares its synchronised table with one of all images."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    metrics = FusionMetrics(NAMES)
    for index in range(rank, images, 2):
        score(metrics, index)
    if rank == 1 and images > 1:
        score(metrics, 0)  # as a distributed sampler does to fill the last batch
    metrics.compute()
    torch.distributed.destroy_process_group()
    if rank:
        return
    alone = FusionMetrics(NAMES)
    for index in range(images):
        score(alone, index)
    same = repr(metrics.per_image()) == repr(alone.per_image()) and metrics.counts() == alone.counts()
    sys.stdout.write(f"{'same' if same else 'different'} {len(metrics.per_image())}\n")


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, int(sys.argv[1]), sys.argv[2])) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        if process.is_alive():
            process.kill()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))
