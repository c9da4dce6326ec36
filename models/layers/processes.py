"""What a layer's statistics need of the other processes of a run; each function is the identity where there is one."""

import torch
from torch import Tensor, distributed

from ivif.models.layers.clustering import evenly_spaced


def process_count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of one tensor per process, equal on all; changes `values` in place."""
    if process_count() > 1:
        distributed.all_reduce(values)
    return values


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of one tensor per process, equal on all."""
    count = process_count()
    return sum_over_processes(values.clone()) / count if count > 1 else values


def total_count(count: Tensor) -> Tensor:
    """The sum of one count per process."""
    return sum_over_processes(count.detach().clone())


def divisor(total: Tensor) -> Tensor:
    """What this process's numerators are divided by, so that the mean over processes is the joined batch's loss.

    Args:
        total: Count of all processes; less than 1 counts as 1.
    """
    return total.clamp(min=1) / process_count()


def broadcast_first(values: Tensor) -> Tensor:
    """The first process's tensor on all; changes `values` in place."""
    if process_count() > 1:
        distributed.broadcast(values, src=0)
    return values


def gather_equal(vectors: Tensor, limit: int) -> Tensor:
    """Vectors of all processes in their order, equally many of each and evenly spaced.

    Args:
        vectors: (N, d), N >= 1 may differ between processes.
        limit: How many of all processes together, about: at least one of each.

    Returns:
        (M, d), M <= limit rounded up to a multiple of the number of processes; equal on all processes.
    """
    processes = process_count()
    count = -(-limit // processes)
    if processes == 1:
        return vectors[evenly_spaced(len(vectors), count, vectors.device)]
    fewest = torch.tensor(len(vectors), device=vectors.device)
    distributed.all_reduce(fewest, distributed.ReduceOp.MIN)
    own = vectors[evenly_spaced(len(vectors), min(count, int(fewest)), vectors.device)].contiguous()
    parts = [torch.empty_like(own) for _ in range(processes)]
    distributed.all_gather(parts, own)
    return torch.cat(parts)
