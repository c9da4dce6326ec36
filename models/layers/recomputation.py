"""Activation checkpointing of modules that normalise over the batch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Any) -> Any:
    """Runs a module, keeping its inputs alone for the backward pass, which computes its inside again.

    Equal values and gradients; batch normalisation counts the batch once.

    Args:
        module: What to run; without random numbers, or with torch's own generator.
        inputs: Its arguments.

    Returns:
        What it returns.
    """
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _counted_already(module)


@contextmanager
def _counted_already(module: nn.Module) -> Iterator[None]:
    """A batch normalisation of momentum 0 leaves its running statistics as they are."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.num_batches_tracked is not None]
    before = [(norm.momentum, cast("Tensor", norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            cast("Tensor", norm.num_batches_tracked).copy_(count)
