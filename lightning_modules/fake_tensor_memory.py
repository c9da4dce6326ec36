"""How many bytes a piece of work holds at any size, from tensors that have a size but no content."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ivif.bilevel.unchanged import unchanged
from ivif.image_ops.constants import forget_constants


@dataclass(frozen=True)
class Use:
    """Bytes of tensors, beside weights and inputs.

    Args:
        kept: Alive when the forward pass is over.
        peak: The most that are alive at once, in the forward or the backward pass.
        left: Alive when the backward pass is over: gradients of weights.
    """

    kept: int
    peak: int
    left: int = 0

    def __add__(self, other: "Use") -> "Use":
        """Both kept at once, as where the sum of two losses is differentiated, the one or the other first."""
        kept = self.kept + other.kept
        return Use(kept, kept + max(self.peak - self.kept, other.peak - other.kept), self.left + other.left)

    def times(self, factor: float) -> "Use":
        """The use of so many times the work."""
        return Use(round(self.kept * factor), round(self.peak * factor), round(self.left * factor))

    def then(self, other: "Use") -> "Use":
        """The one after the other, on what the first has kept."""
        return Use(self.kept + other.kept, max(self.peak, self.kept + other.peak), self.left + other.left)

    def into(self, other: "Use") -> "Use":
        """The other on the first's result, both differentiated: its gradients alone are left when the first begins."""
        peak = max(self.kept + other.peak, self.peak + other.left)
        return Use(self.kept + other.kept, peak, self.left + other.left)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every tensor that an operation makes, as long as it lives.

    Views and results written in place are no new bytes. What a kernel takes for itself while it runs is not seen.

    Attributes:
        now: Bytes alive.
        peak: The most so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and counts what it made."""
        if func is torch.ops.aten._local_scalar_dense.default and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():  # a number that decides something, such as whether a codebook has begun
                return func(*args)
        made = func(*args, **(kwargs or {}))
        if not any(entry.alias_info for entry in func._schema.returns):
            for tensor in tree_leaves(made):
                if isinstance(tensor, Tensor):
                    self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._alive:
            return
        self._alive.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._alive.discard(address)
        self.now -= size


def measure(
    run: Callable[[], Any],
    parameters: Sequence[nn.Parameter] = (),
    arithmetic: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Use:
    """Bytes that a forward pass holds, and its backward pass where there are parameters.

    Args:
        run: The forward pass; with parameters it returns a loss.
        parameters: What the loss is differentiated by; none: nothing is kept for a backward pass.
        arithmetic: Precision of the forward pass, such as autocast, whose copies of weights are counted once.
    """
    live = LiveBytes()
    with live, torch.set_grad_enabled(bool(parameters)):
        with arithmetic():
            result = run()
        kept = live.now
        gradients = torch.autograd.grad(result, parameters, allow_unused=True) if parameters else ()
        del result
        left = live.now
        del gradients
    return Use(kept, live.peak, left)


@contextmanager
def imagined() -> Iterator[None]:
    """Inside, new tensors have a size and no content, and take no memory; but for what runs in `really`.

    Networks run as written, not compiled.
    """
    with torch.compiler.set_stance("force_eager"), FakeTensorMode(allow_non_fake_inputs=True):
        try:
            yield
        finally:
            forget_constants()  # they would hand filters without content to real pictures


really = unset_fake_temporarily
"""Inside of `imagined`: new tensors have content all the same."""


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Weights, statistics, attributes and torch's generators are afterwards what they were."""
    attributes = [(part.__dict__, _copied(part.__dict__)) for part in module.modules()]
    with unchanged([*module.parameters(), *module.buffers()]):
        try:
            yield
        finally:
            for present, before in attributes:
                _restore(present, before)


def _copied(attributes: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each attribute, and the content of dictionaries and lists: diagnostics and what a codebook saw grow in place."""
    return {
        name: (value, value.copy() if isinstance(value, dict | list) else None) for name, value in attributes.items()
    }


def _restore(attributes: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    attributes.clear()
    for name, (value, content) in before.items():
        if content is not None:
            value.clear()
            value.update(content) if isinstance(value, dict) else value.extend(content)
        attributes[name] = value
