"""Nearest entries and k-means, the same on every process."""

from typing import Final

import torch
from torch import Tensor, distributed

from ivif.image_ops.precision import single_precision
from ivif.machine.process_group import process_count

_DISTANCES_AT_ONCE: Final = 2**22  # 16 MiB of float32


@torch.no_grad()
def nearest_entries(vectors: Tensor, entries: Tensor) -> Tensor:
    """Index of the entry with the smallest Euclidean distance to each vector.

    |z|^2 - 2 z.c + |c|^2 without |z|^2, which is the same for all entries; in float32 or wider also under autocast, and
    in slices, so that memory does not grow with the image (but in an export, which would keep its example's number).

    Args:
        vectors: (N, d).
        entries: (K, d).

    Returns:
        (N,), int64; the first of several that are equally near.
    """
    precise = torch.promote_types(torch.promote_types(vectors.dtype, entries.dtype), torch.float32)
    with single_precision(vectors.device):
        codes = entries.to(precise)
        centre = codes.mean(dim=0)  # distances to it are small numbers, whose differences keep their digits
        codes = codes - centre
        lengths, directions = codes.square().sum(dim=1), codes.t()
        rows = max(_DISTANCES_AT_ONCE // len(codes), 1)
        parts = [
            torch.addmm(lengths, part.to(precise) - centre, directions, alpha=-2.0).argmin(dim=1)
            for part in ((vectors,) if torch.compiler.is_exporting() else torch.split(vectors, rows))
        ]
    return torch.cat(parts)


def totals(vectors: Tensor, indices: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """How many vectors belong to each entry, and their sum.

    Args:
        vectors: (N, d).
        indices: (N,), int64, in [0, entries).
        entries: K.

    Returns:
        Counts (K,) and sums (K, d), the vectors' precision.
    """
    ones = vectors.new_ones(len(indices))
    counts = vectors.new_zeros(entries).index_add_(0, indices, ones)  # `bincount` makes the processor wait for a GPU
    return counts, vectors.new_zeros(entries, vectors.shape[1]).index_add_(0, indices, vectors)


def evenly_spaced(length: int, count: int, device: torch.device) -> Tensor:
    """`count` positions in [0, length) with equal steps, all of them if `count` >= `length`."""
    if count >= length:
        return torch.arange(length, device=device)
    return torch.arange(count, device=device) * length // count


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
    chosen = vectors[evenly_spaced(len(vectors), min(count, int(fewest)), vectors.device)].contiguous()
    parts = [torch.empty_like(chosen) for _ in range(processes)]
    distributed.all_gather(parts, chosen)
    return torch.cat(parts)


@torch.no_grad()
def k_means(vectors: Tensor, entries: int, iterations: int = 10) -> Tensor:
    """Lloyd's algorithm from evenly spaced vectors; an entry that lost all its vectors moves to the worst fitting one.

    Draws no numbers from the global generators. With fewer vectors than entries, each vector becomes an entry, and the
    others are copies that differ by 1 % of the vectors' spread.

    Args:
        vectors: (N, d), N >= 1, float32 or wider.
        entries: K >= 1.
        iterations: How often to assign and average.

    Returns:
        (K, d).
    """
    if len(vectors) <= entries:
        return _repeated(vectors, entries)
    centres = vectors[evenly_spaced(len(vectors), entries, vectors.device)]
    for _ in range(iterations):
        indices = nearest_entries(vectors, centres)
        counts, sums = totals(vectors, indices, entries)
        empty = (counts == 0).nonzero().flatten()
        worst = (vectors - centres[indices]).square().sum(dim=1).topk(len(empty)).indices
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1.0)[:, None], centres)
        centres[empty] = vectors[worst]
    return centres


def _repeated(vectors: Tensor, entries: int) -> Tensor:
    count = len(vectors)
    centres = vectors[torch.arange(entries, device=vectors.device) % count]
    noise = torch.randn(entries - count, vectors.shape[1], generator=torch.Generator().manual_seed(0))
    spread = vectors.std(dim=0, correction=0).mean()
    centres[count:] += 0.01 * spread * noise.to(vectors)
    return centres
