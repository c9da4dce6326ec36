"""Tensors that follow from numbers alone: made once for each precision and device, not at each call."""

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")

Numbers = float | tuple["Numbers", ...]
"""A number, or numbers nested as deeply as a tensor has dimensions."""


_MADE: list[Callable[[], None]] = []


def forget_constants() -> None:
    """Drops everything that was kept: for who made it under a mode in which tensors have no content."""
    for clear in _MADE:
        clear()


class MadeOnce(Generic[Arguments, Made]):
    """A function whose results are kept; its arguments name everything that they depend on, precision and device too.

    All callers share the tensors, so nobody may change them in place. They are ordinary tensors wherever the first call
    comes from: a later training step may save them for its gradients. A compiler traces the function itself.

    Args:
        make: The function.
        kept: For how many sets of arguments results are kept; the one used longest ago goes first.
    """

    def __init__(self, make: Callable[Arguments, Made], kept: int) -> None:
        self.make = make
        self.cached = lru_cache(maxsize=kept)(torch.inference_mode(mode=False)(torch.no_grad()(make)))
        update_wrapper(self, make)
        _MADE.append(self.cached.cache_clear)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        """The result for these arguments."""
        if torch.compiler.is_compiling():
            return self.make(*args, **kwargs)
        return self.cached(*args, **kwargs)  # type: ignore[arg-type] # ours are all hashable


def made_once(kept: int) -> Callable[[Callable[Arguments, Made]], MadeOnce[Arguments, Made]]:
    """Decorates a function that makes tensors of its arguments alone, see `MadeOnce`."""
    return lambda make: MadeOnce(make, kept)


@made_once(kept=64)
def constant(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers as a tensor, which is not to be changed in place.

    To copy numbers from Python to a GPU at each call makes the CPU wait for all that the GPU still has to do.

    Args:
        numbers: Nested as deeply as the tensor shall have dimensions.
        dtype: Its precision.
        device: Where it shall lie.
    """
    return torch.tensor(numbers, dtype=dtype, device=device)
