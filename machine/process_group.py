"""Processes that train together: sums, means and copies over them, the identity where there is one, and their end."""

import atexit
from typing import Any, TypeVar

from torch import Tensor, distributed

T = TypeVar("T")


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


def gather_objects(value: T) -> list[T]:
    """One picklable value of each process, in their order, the same list on all; it waits for all of them."""
    if process_count() == 1:
        return [value]
    values: list[Any] = [None] * process_count()
    distributed.all_gather_object(values, value)
    return values


def broadcast_first(values: Tensor) -> Tensor:
    """The first process's tensor on all; changes `values` in place."""
    if process_count() > 1:
        distributed.broadcast(values, src=0)
    return values


def leave_process_group_at_exit() -> None:
    """Ends the threads of gloo before the interpreter ends.

    Lightning does so for NCCL alone. A thread of gloo that is left may abort the process at its very end, which a
    launcher takes for a failed run.
    """
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
