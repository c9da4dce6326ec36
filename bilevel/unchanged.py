"""What a measurement must leave as it was."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def unchanged(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Tensors, and torch's generators of where they lie, are afterwards what they were.

    Args:
        tensors: Weights or buffers, in place; the first says where is computed.
    """
    watched = list(tensors)
    values = [tensor.detach().clone() for tensor in watched]
    devices = [watched[0].device] if watched and watched[0].device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=devices[0].type if devices else "cuda"):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(watched, values, strict=True):
                    tensor.copy_(value)
