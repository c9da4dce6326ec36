"""What a measurement must leave as it was."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def kept(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Tensors, and torch's generators of where they lie, are afterwards what they were.

    Args:
        tensors: Weights or buffers, in place; the first says where is computed.
    """
    own = list(tensors)
    values = [tensor.detach().clone() for tensor in own]
    devices = [own[0].device] if own and own[0].device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=devices[0].type if devices else "cuda"):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(own, values, strict=True):
                    tensor.copy_(value)
