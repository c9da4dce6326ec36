"""Several optimisers along one backward pass, under float16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_scale(scaler: torch.amp.GradScaler | None) -> Iterator[None]:
    """Optimisers that step inside take the same factor off their gradients; it changes once, after the last.

    Lightning lets the scaler change it after each: the second optimiser of one backward pass would divide its gradients
    by another number than they were multiplied with.

    Args:
        scaler: Of the trainer's precision plugin; None where there is none.
    """
    if scaler is None:
        yield
        return
    vars(scaler)["update"] = _nothing
    try:
        yield
    finally:
        del vars(scaler)["update"]
    scaler.update()


def _nothing() -> None:
    """In place of the scaler's update."""
