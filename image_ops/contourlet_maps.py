"""The two linear maps of the contourlet transform, image to subbands and back, each the other's gradient.

Autograd would differentiate every step of them; the adjoint as a whole costs as little as the map itself, and as
nothing is saved for it, no memory.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ivif.image_ops.contourlet_filters import Form, Kind, ScaleFilters, scale_filters


class Plan(NamedTuple):
    """Which filters a map uses.

    Attributes:
        kind: `analysis` or `synthesis`.
        levels: log2 of the number of wedges of each scale, finest first.
        decimate: Whether subbands are sampled.
    """

    kind: Kind
    levels: tuple[int, ...]
    decimate: bool


def split_planes(planes: Tensor, plan: Plan) -> tuple[Tensor, ...]:
    """Splits real planes into a low-pass and subbands.

    Args:
        planes: (N, H, W), float32 or float64, of a size that the lattices divide.
        plan: The filters.

    Returns:
        The low-pass (N, 1, h, w), then both stacks (N, n/2, h', w') of each scale, finest first.
    """
    bands: tuple[Tensor, ...] = _Split.apply(plan, planes)
    return bands


def join_planes(bands: Sequence[Tensor], plan: Plan) -> Tensor:
    """Joins a low-pass and subbands: with the filters for synthesis the inverse of `split_planes`.

    Args:
        bands: What `split_planes` returns.
        plan: The filters.

    Returns:
        (N, H, W).
    """
    planes: Tensor = _Join.apply(plan, *bands)
    return planes


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(plan: Plan, planes: Tensor) -> tuple[Tensor, ...]:
        spectrum = torch.fft.fft2(planes)
        stacks = []
        for scale in range(len(plan.levels)):
            filters = _filters(plan, "split", scale, planes, planes.shape[-2:])
            for half in (filters.first, filters.second):
                width = spectrum.shape[-1] // half.shape[3]
                stacks.append(torch.fft.irfft2(_fold(spectrum, half), s=(half.shape[2], width)))
            spectrum = _fold(spectrum, filters.lowpass).squeeze(1)
        return _to_real(spectrum).unsqueeze(1), *stacks

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - torch's signature
        ctx.plan = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, join_planes(gradients, ctx.plan)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(plan: Plan, *bands: Tensor) -> Tensor:
        lowpass = bands[0]
        factor = 2 ** len(plan.levels) if plan.decimate else 1
        size = factor * lowpass.shape[-2], factor * lowpass.shape[-1]
        spectrum = torch.fft.fft2(lowpass)
        for scale in reversed(range(len(plan.levels))):
            filters = _filters(plan, "join", scale, lowpass, size)
            _, rows, height, width = filters.lowpass.shape
            columns = width if scale else width // 2 + 1  # the image's spectrum is symmetric: half is enough
            stacks = bands[2 * scale + 1 : 2 * scale + 3]
            joined = spectrum.new_zeros(len(lowpass), rows * height, columns)
            for spectra, part in zip((spectrum, *map(torch.fft.fft2, stacks)), filters, strict=True):
                _spread(spectra, part, joined)
            spectrum = joined.unsqueeze(1)
        planes: Tensor = torch.fft.irfft2(spectrum.squeeze(1), s=size)
        return planes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - torch's signature
        ctx.plan = inputs[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *split_planes(gradient, ctx.plan)


def _filters(plan: Plan, form: Form, scale: int, planes: Tensor, size: Sequence[int]) -> ScaleFilters:
    grid = size[0] >> scale, size[1] >> scale
    tiles = 0 if plan.decimate else 2**scale
    return scale_filters(plan.kind, form, plan.levels[scale], grid, tiles, planes.dtype, planes.device)


def _fold(spectrum: Tensor, filters: Tensor) -> Tensor:
    """Filters (N, H, W) and samples: (N, n, h, columns), at each frequency the sum of all that become one there."""
    _, rows, height, columns, width = filters.shape
    aliases = spectrum.reshape(len(spectrum), 1, rows, height, columns, -1)[..., :width]
    folded: Tensor = aliases[:, :, 0, :, 0] * filters[:, 0, :, 0]
    for index in range(1, rows * columns):
        row, column = divmod(index, columns)
        folded.addcmul_(aliases[:, :, row, :, column], filters[:, row, :, column])
    return folded


def _spread(spectra: Tensor, filters: Tensor, total: Tensor) -> None:
    """Upsamples (N, n, h, w), which repeats spectra, filters, and adds all to (N, H, columns)."""
    _, rows, height, _ = filters.shape
    columns = total.shape[-1]
    periods = -(-columns // spectra.shape[-1])
    repeated = (spectra.repeat(1, 1, 1, periods) if periods > 1 else spectra)[..., :columns]
    by_alias = total.view(-1, rows, height, columns)
    for index, response in enumerate(filters):
        by_alias.addcmul_(repeated[:, index, None], response[..., :columns])


def _to_real(spectrum: Tensor) -> Tensor:
    height, width = spectrum.shape[-2:]
    planes: Tensor = torch.fft.irfft2(spectrum[..., : width // 2 + 1], s=(height, width))
    return planes
