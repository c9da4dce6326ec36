"""Run by `test_quantizer.py`: a codebook in two processes beside one that sees the joined batches."""

import multiprocessing
import sys
from typing import Any

import torch
from torch import Tensor, distributed

from ivif.models.layers.quantizer import VectorQuantizer

ENTRIES, WIDTH, STEPS = 16, 4, 6


def batch(step: int, rank: int) -> Tensor:
    """The vectors of one process at a step; the processes' differ."""
    return torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(10 * step + rank)) + 3.0 * rank


def train(update: Any, ranks: tuple[int, ...]) -> VectorQuantizer:
    """A codebook after some steps, with one entry that dies and is revived at the last."""
    torch.manual_seed(ranks[0])
    quantizer = VectorQuantizer(ENTRIES, WIDTH, update, revive_after=STEPS - 1)
    for step in range(STEPS):
        quantizer(torch.cat([batch(step, rank) for rank in ranks]))
        if step == 0:
            with torch.no_grad():
                quantizer.codebook[5] = 1000.0
            quantizer.forget()  # what chose the entry before it was moved
            quantizer(torch.cat([batch(step, rank) for rank in ranks]))
        quantizer.update_statistics()
    return quantizer


def work(rank: int, update: str, store: str) -> None:
    """One of two processes; rank 0 compares."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    state = train(update, (rank,)).state_dict()
    equal = True
    for value in state.values():
        first = value.clone()
        distributed.broadcast(first, src=0)
        equal = equal and torch.equal(first, value)
    flag = torch.tensor(int(equal))
    distributed.all_reduce(flag, distributed.ReduceOp.MIN)
    distributed.destroy_process_group()
    if rank:
        return
    alone = train(update, (0, 1)).state_dict()
    joined = all(torch.allclose(value.double(), alone[key].double(), atol=1e-6) for key, value in state.items())
    revived = bool(state["codebook"][5].abs().max() < 100.0)
    words = ("equal" if flag else "different", "joined" if joined else "apart", "revived" if revived else "dead")
    sys.stdout.write(f"{' '.join(words)}\n")


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, sys.argv[1], sys.argv[2])) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        if process.is_alive():
            process.kill()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))
