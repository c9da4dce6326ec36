"""Single precision that is meant: without autocast, and without the 10-bit products of NVIDIA's TensorFloat-32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Computes in the precision of the tensors for a while, whatever the run allows; then all is as before.

    GPUs since Ampere round the factors of float32 convolutions to TensorFloat-32 by default, and those of matrix
    products where the run asks for it (`--matmul_precision high`). The backward pass of what is computed here runs
    later, under the run's own settings: use it for what has no gradient.

    Args:
        device: Where is computed; only a GPU has switches to turn.
    """
    switches = _switches() if device.type == "cuda" else []
    before = [getattr(owner, name) for owner, name, _ in switches]
    with torch.autocast(device.type, enabled=False):
        try:
            for owner, name, exact in switches:
                setattr(owner, name, exact)
            yield
        finally:
            for (owner, name, _), value in zip(switches, before, strict=True):
                setattr(owner, name, value)


def _switches() -> list[tuple[Any, str, Any]]:
    """Owner, name and exact value of what allows TensorFloat-32; torch 2.9 renamed them and warns of the old names."""
    convolution, product = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(convolution, "conv"):
        return [(convolution.conv, "fp32_precision", "ieee"), (product, "fp32_precision", "ieee")]
    return [(convolution, "allow_tf32", False), (product, "allow_tf32", False)]
