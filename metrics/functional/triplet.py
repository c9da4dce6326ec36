"""One batch of (fused, infrared, visible) images and the intermediate results that several metrics share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property, update_wrapper
from inspect import Parameter, Signature, signature
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import torch
from torch import Tensor

GREY_LEVELS = 256

P = ParamSpec("P")
P_contra = ParamSpec("P_contra")
T = TypeVar("T")


@dataclass(frozen=True)
class Moments:
    """Means and population (co)variances over the whole image, float64; order fused, infrared, visible."""

    mean: Tensor
    covariance: Tensor


class Triplet:
    """Fused, infrared and visible luma of a batch, with a cache of what metrics derive from them.

    Half precision inputs are promoted to float32.

    Args:
        fused: (B, 1, H, W), floating point, nominally 0..255.
        infrared: The same shape.
        visible: The same shape.

    Raises:
        ValueError: If the shapes differ, are not (B, 1, H, W), or a tensor is not floating point.
    """

    def __init__(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
        for name, image in (("fused", fused), ("infrared", infrared), ("visible", visible)):
            if image.ndim != 4 or image.shape[1] != 1:
                raise ValueError(
                    f"'{name}' must be (B, 1, H, W), got {tuple(image.shape)}: pass the luma of RGB images."
                )
            if image.shape != fused.shape:
                raise ValueError(
                    f"'{name}' is {tuple(image.shape)} but 'fused' is {tuple(fused.shape)}; sizes must match."
                )
            if not image.is_floating_point():
                raise ValueError(
                    f"'{name}' has type {image.dtype}; convert it with .float() and keep the range 0..255."
                )
        self.fused, self.infrared, self.visible = (_at_least_float32(image) for image in (fused, infrared, visible))
        self._cache: dict[Hashable, Any] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.fused.shape[-2], self.fused.shape[-1]

    def shared(self, key: Hashable, build: Callable[[], T]) -> T:
        """The value stored under `key`, built on first use."""
        if key not in self._cache:
            self._cache[key] = build()
        return cast("T", self._cache[key])

    @cached_property
    def planes(self) -> Tensor:
        """The three images as channels, (B, 3, H, W): fused, infrared, visible."""
        return torch.cat((self.fused, self.infrared, self.visible), dim=1)

    @cached_property
    def differentiable(self) -> bool:
        """Whether a gradient is to flow to one of the images."""
        return torch.is_grad_enabled() and self.planes.requires_grad

    @cached_property
    def integral(self) -> bool:
        """Whether all values are 8-bit grey levels and no gradient is needed, so that integer arithmetic is exact."""
        if self.differentiable:
            return False
        planes = self.planes
        low, high = torch.aminmax(planes)
        return bool((low >= 0) & (high < GREY_LEVELS) & (planes == planes.round()).all())

    @cached_property
    def moments(self) -> Moments:
        """Means (B, 3) and covariances (B, 3, 3)."""
        values = self.planes.flatten(2).double()
        mean = values.mean(dim=2)
        centred = values - mean.unsqueeze(2)
        covariance = centred @ centred.transpose(1, 2) / values.shape[2]
        return Moments(mean, covariance)

    @cached_property
    def levels(self) -> Tensor:
        """Grey levels of the three images, (B, 3, H W) int64, rounded and clamped to 0..255."""
        return self.planes.detach().flatten(2).round().clamp_(0, GREY_LEVELS - 1).long()

    @cached_property
    def joint_histograms(self) -> Tensor:
        """Relative frequencies (B, 2, 256, 256), float64: [:, 0] of (infrared, fused), [:, 1] of (visible, fused)."""
        return joint_histograms(self.levels)

    @cached_property
    def histograms(self) -> Tensor:
        """Relative frequencies of grey levels, (B, 3, 256), float64: fused, infrared, visible."""
        joint = self.joint_histograms
        return torch.cat((joint[:, :1].sum(dim=2), joint.sum(dim=3)), dim=1)


def joint_histograms(levels: Tensor) -> Tensor:
    """Joint histograms of two sources with the fused image.

    Args:
        levels: (B, 3, N) int64, 0..255: fused, infrared, visible.

    Returns:
        (B, 2, 256, 256) float64 relative frequencies, rows by source level, columns by fused level.
    """
    batch, _, count = levels.shape
    pairs = torch.arange(2 * batch, device=levels.device).view(batch, 2, 1) * GREY_LEVELS
    codes = (pairs + levels[:, 1:]) * GREY_LEVELS + levels[:, :1]
    counts = torch.bincount(codes.flatten(), minlength=2 * batch * GREY_LEVELS**2)
    return counts.view(batch, 2, GREY_LEVELS, GREY_LEVELS).double() / count


class FusedMetric(Protocol[P_contra]):
    """A metric of the fused image alone; `of` takes a `Triplet` instead."""

    of: Callable[Concatenate[Triplet, P_contra], Tensor]

    def __call__(self, fused: Tensor, *args: P_contra.args, **kwargs: P_contra.kwargs) -> Tensor:
        """Values (B,) of images (B, 1, H, W)."""
        ...


class TripletMetric(Protocol[P_contra]):
    """A metric of the fused image and its two sources; `of` takes a `Triplet` instead."""

    of: Callable[Concatenate[Triplet, P_contra], Tensor]

    def __call__(
        self, fused: Tensor, infrared: Tensor, visible: Tensor, *args: P_contra.args, **kwargs: P_contra.kwargs
    ) -> Tensor:
        """Values (B,) of images (B, 1, H, W)."""
        ...


def fused_metric(smallest: int = 1) -> Callable[[Callable[Concatenate[Triplet, P], Tensor]], FusedMetric[P]]:
    """Turns a function of a `Triplet` into one of the fused image; it refuses images with a side below `smallest`."""

    def decorate(function: Callable[Concatenate[Triplet, P], Tensor]) -> FusedMetric[P]:
        checked = _checked(function, smallest)

        def metric(fused: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
            return checked(Triplet(fused, fused, fused), *args, **kwargs)

        return cast("FusedMetric[P]", _finish(metric, function, checked, ("fused",)))

    return decorate


def triplet_metric(smallest: int = 1) -> Callable[[Callable[Concatenate[Triplet, P], Tensor]], TripletMetric[P]]:
    """Turns a function of a `Triplet` into one of three images; it refuses images with a side below `smallest`."""

    def decorate(function: Callable[Concatenate[Triplet, P], Tensor]) -> TripletMetric[P]:
        checked = _checked(function, smallest)

        def metric(fused: Tensor, infrared: Tensor, visible: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
            return checked(Triplet(fused, infrared, visible), *args, **kwargs)

        return cast("TripletMetric[P]", _finish(metric, function, checked, ("fused", "infrared", "visible")))

    return decorate


def _checked(
    function: Callable[Concatenate[Triplet, P], Tensor], smallest: int
) -> Callable[Concatenate[Triplet, P], Tensor]:
    name = getattr(function, "__name__", "metric")

    def checked(triplet: Triplet, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        height, width = triplet.size
        if min(height, width) < smallest:
            raise ValueError(
                f"{name} needs images of at least {smallest}x{smallest} pixels, got {height}x{width}. "
                f"Score larger images, or leave this metric out."
            )
        return function(triplet, *args, **kwargs)

    checked.__name__ = name
    return checked


def _finish(
    metric: Callable[..., Tensor],
    function: Callable[..., Tensor],
    checked: Callable[..., Tensor],
    images: tuple[str, ...],
) -> Callable[..., Tensor]:
    update_wrapper(metric, function)
    options = list(signature(function).parameters.values())[1:]
    leading = [Parameter(image, Parameter.POSITIONAL_OR_KEYWORD, annotation=Tensor) for image in images]
    metric.__signature__ = Signature(leading + options, return_annotation=Tensor)  # type: ignore[attr-defined]
    metric.of = checked  # type: ignore[attr-defined]
    return metric


def _at_least_float32(image: Tensor) -> Tensor:
    return image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
