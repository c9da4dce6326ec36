"""Joint transforms: pair, boxes, mask and every other spatial plane move together.

Each is a callable `(sample, generator) -> sample`. All randomness comes from the generator, so that a sample is
decided by its seed alone, in whatever process it is made. Samples go in and come out uint8 (float32 planes stay
float32); the input is never written to. `Compose` ends with contiguous planes; a crop is a view until then, so put it
first.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from datamodules.datasets import boxes
from datamodules.datasets.appearance import AddClipViews, VisibleJitter, uniform
from datamodules.datasets.batch import IMAGE_KEYS, SPATIAL_KEYS, Sample, Targets
from datamodules.datasets.boxes import DEFAULT_RULE, BoxRule

__all__ = [
    "AddClipViews",
    "Compose",
    "Letterbox",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotate90",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
    "VisibleJitter",
]

Transform = Callable[[Sample, Generator], Sample]

LETTERBOX_GREY: Final = 114
"""Filling around letterboxed images, as YOLO detectors are trained with."""


class Compose:
    """Applies transforms in order, then makes every plane contiguous.

    Args:
        transforms: The transforms.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Transforms one sample; all draws come from `generator`."""
        for transform in self.transforms:
            sample = transform(sample, generator)
        return _map_planes(sample, lambda plane, _: _contiguous(plane), IMAGE_KEYS)


class RandomCrop:
    """Cuts the same random window from every spatial plane; pads what is smaller, evenly on both sides.

    Args:
        size: Height and width of the window, or one number for a square.
        padding: `reflect` mirrors at the edge (without repeating it), `replicate` repeats the edge.
        rule: Which boxes survive.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: Literal["reflect", "replicate"] = "reflect",
        rule: BoxRule = DEFAULT_RULE,
    ) -> None:
        if padding not in ("reflect", "replicate"):
            raise ValueError(f"RandomCrop has no padding '{padding}'; known: reflect, replicate.")
        self.size = _pair(size)
        self.padding = padding
        self.rule = rule

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws a row and a column; returns views where nothing is padded."""
        height, width = _size(sample)
        top = self._offset(height, self.size[0], generator)
        left = self._offset(width, self.size[1], generator)

        def cut(plane: Tensor, _: str) -> Tensor:
            return self._window(self._window(plane, -2, top, self.size[0]), -1, left, self.size[1])

        return _map(sample, cut, lambda targets: boxes.shift_and_clip(targets, left, top, self.size, self.rule))

    @staticmethod
    def _offset(extent: int, wanted: int, generator: Generator) -> int:
        if extent < wanted:
            return -((wanted - extent) // 2)
        return _integer(extent - wanted + 1, generator)

    def _window(self, plane: Tensor, dimension: int, start: int, length: int) -> Tensor:
        extent = plane.shape[dimension]
        if start >= 0 and start + length <= extent:
            return plane.narrow(dimension, start, length)
        positions = torch.arange(start, start + length)
        if self.padding == "replicate" or extent == 1:
            positions = positions.clamp(0, extent - 1)
        else:
            period = 2 * (extent - 1)  # a mirror repeats, so any amount of padding works
            positions = positions.remainder(period)
            positions = torch.where(positions < extent, positions, period - positions)
        return plane.index_select(dimension, positions)


class RandomHorizontalFlip:
    """Mirrors left to right.

    Args:
        probability: In [0, 1].
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws once."""
        if uniform(0.0, 1.0, generator) >= self.probability:
            return sample
        width = _size(sample)[1]
        return _map(sample, lambda plane, _: plane.flip(-1), lambda targets: boxes.flip_horizontal(targets, width))


class RandomVerticalFlip:
    """Turns upside down.

    Args:
        probability: In [0, 1].
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws once."""
        if uniform(0.0, 1.0, generator) >= self.probability:
            return sample
        height = _size(sample)[0]
        return _map(sample, lambda plane, _: plane.flip(-2), lambda targets: boxes.flip_vertical(targets, height))


class RandomRotate90:
    """Turns by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180, as their size must not change.

    Args:
        probability: Of drawing an angle at all (which may be 0).
    """

    def __init__(self, probability: float = 1.0) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws twice."""
        drawn = uniform(0.0, 1.0, generator) < self.probability
        turns = _integer(4, generator)
        size = _size(sample)
        if size[0] != size[1]:
            turns = 2 * (turns % 2)
        if not drawn or turns == 0:
            return sample
        return _map(
            sample,
            lambda plane, _: _rotated(plane, turns),
            lambda targets: boxes.rotate_90(targets, size, turns),
        )


class Resize:
    """Resizes every spatial plane: bilinear with antialiasing, the mask by its nearest value.

    Args:
        size: Height and width, or one number for a square; the aspect ratio is not kept.
        rule: Which boxes survive (its minimum side, measured afterwards).
    """

    def __init__(self, size: int | tuple[int, int], rule: BoxRule = DEFAULT_RULE) -> None:
        self.size = _pair(size)
        self.rule = rule

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws nothing."""
        return _resize(sample, self.size, self.rule)


class Letterbox:
    """Resizes to fit into a square and fills the rest evenly: grey 114, or 0 in the mask; the aspect ratio is kept.

    Args:
        size: Side of the square.
        rule: Which boxes survive (its minimum side, measured afterwards).
    """

    def __init__(self, size: int, rule: BoxRule = DEFAULT_RULE) -> None:
        self.size = size
        self.rule = rule

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws nothing."""
        height, width = _size(sample)
        ratio = self.size / max(height, width)
        inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        sample = _resize(sample, inner, self.rule)
        top, left = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2

        def frame(plane: Tensor, key: str) -> Tensor:
            grey = 0 if key == "mask" else LETTERBOX_GREY
            filling = grey if plane.dtype == torch.uint8 else grey / 255
            framed = plane.new_full((plane.shape[0], self.size, self.size), filling)
            framed[:, top : top + inner[0], left : left + inner[1]] = plane
            return framed

        window = (self.size, self.size)
        return _map(sample, frame, lambda targets: boxes.shift_and_clip(targets, -left, -top, window, self.rule))


def _map_planes(sample: Sample, change: Callable[[Tensor, str], Tensor], keys: Sequence[str]) -> Sample:
    changed: dict[str, Any] = dict(sample)
    for key in keys:
        if key in changed:
            changed[key] = change(changed[key], key)
    return cast("Sample", changed)


def _map(sample: Sample, change: Callable[[Tensor, str], Tensor], move: Callable[[Targets], Targets]) -> Sample:
    """Changes every spatial plane, and the boxes with them."""
    changed = _map_planes(sample, change, SPATIAL_KEYS)
    if "targets" in changed:
        changed["targets"] = move(changed["targets"])
    return changed


def _rotated(plane: Tensor, turns: int) -> Tensor:
    if turns == 2:
        return plane.flip((-2, -1))
    return torch.from_numpy(np.ascontiguousarray(np.rot90(plane.numpy(), turns, (-2, -1))))  # torch takes twice as long


def _contiguous(plane: Tensor) -> Tensor:
    # NumPy takes decoded RGB apart into planes a little faster than torch
    return plane if plane.is_contiguous() else torch.from_numpy(np.ascontiguousarray(plane.numpy()))


def _resize(sample: Sample, size: tuple[int, int], rule: BoxRule) -> Sample:
    height, width = _size(sample)

    def change(plane: Tensor, key: str) -> Tensor:
        mode = InterpolationMode.NEAREST_EXACT if key == "mask" else InterpolationMode.BILINEAR
        return cast("Tensor", geometry.resize(plane, list(size), mode, antialias=key != "mask"))

    return _map(sample, change, lambda targets: boxes.scale(targets, size[1] / width, size[0] / height, rule))


def _size(sample: Sample) -> tuple[int, int]:
    return sample["visible"].shape[-2], sample["visible"].shape[-1]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _integer(below: int, generator: Generator) -> int:
    return int(torch.randint(below, (), generator=generator))
