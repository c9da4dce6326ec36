"""Padding as a linear map and its adjoint, in the memory format of the planes.

On a GPU, PyTorch's own returns planes of any format as contiguous ones, which every convolution behind it then follows,
and its gradients are sums in a changing order, which `--trainer.deterministic true` refuses (mirroring) or replaces by
slow ones (repeating). Here each is a copy and a few sums of borders.
"""

from typing import Any, Literal

import torch
from torch import Tensor

PadMode = Literal["replicate", "reflect"]
Padding = tuple[int, int, int, int]
"""Pixels (left, right, top, bottom)."""


def padded(x: Tensor, padding: Padding, mode: PadMode) -> Tensor:
    """Pads planes, differentiably any number of times.

    Args:
        x: (B, C, H, W).
        padding: Pixels (left, right, top, bottom), >= 0; for `reflect` less than the planes have.
        mode: `replicate` or `reflect`.

    Returns:
        (B, C, H + top + bottom, W + left + right), the precision and memory format of `x`.
    """
    result: Tensor = _Pad.apply(x, padding, mode)
    return result


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, padding: Padding, mode: PadMode) -> Tensor:
        left, right, top, bottom = padding
        batch, channels, height, width = x.shape
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        layout = torch.channels_last if last else torch.contiguous_format
        shape = batch, channels, height + top + bottom, width + left + right
        planes = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        middle = planes.narrow(-2, top, height)
        middle.narrow(-1, left, width).copy_(x)
        _fill_borders(middle, left, right, -1, mode)
        _fill_borders(planes, top, bottom, -2, mode)
        return planes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - torch's signature
        ctx.how = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        folded: Tensor = _Fold.apply(gradient, *ctx.how)
        return folded, None, None


class _Fold(torch.autograd.Function):
    """The adjoint of padding: each pixel of a border is added to the one that it copied."""

    @staticmethod
    def forward(planes: Tensor, padding: Padding, mode: PadMode) -> Tensor:
        left, right, top, bottom = padding
        rows = _add_borders(planes.clone(), top, bottom, -2, mode)
        return _add_borders(rows, left, right, -1, mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - torch's signature
        ctx.how = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return padded(gradient, *ctx.how), None, None


def _fill_borders(planes: Tensor, before: int, after: int, dim: int, mode: PadMode) -> None:
    for border, source in _borders(planes, before, after, dim, mode):
        border.copy_(source if mode == "replicate" else source.flip(dim))


def _add_borders(planes: Tensor, before: int, after: int, dim: int, mode: PadMode) -> Tensor:
    """What is inside, after the borders have been added to it in place; a view."""
    for border, source in _borders(planes, before, after, dim, mode):
        source.add_(border.sum(dim, keepdim=True) if mode == "replicate" else border.flip(dim))
    return planes.narrow(dim, before, planes.shape[dim] - before - after)


def _borders(planes: Tensor, before: int, after: int, dim: int, mode: PadMode) -> list[tuple[Tensor, Tensor]]:
    """Both borders of padded planes, and what they are copies of."""
    end = planes.shape[dim] - after
    if mode == "replicate":
        starts, lengths = (before, end - 1), (1, 1)
    else:
        starts, lengths = (before + 1, end - 1 - after), (before, after)
    borders = (0, before), (end, after)
    return [
        (planes.narrow(dim, *border), planes.narrow(dim, start, length))
        for border, start, length in zip(borders, starts, lengths, strict=True)
        if border[1]
    ]
