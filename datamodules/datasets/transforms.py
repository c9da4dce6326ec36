"""Joint transforms: pair, boxes, mask and every other spatial plane move together.

Each is a callable `(sample, generator) -> sample`. All randomness comes from the generator, so that a sample is
decided by its seed alone, in whatever process it is made. Samples go in and come out uint8 (float32 planes stay
float32); the input is never written to. `Compose` ends with contiguous planes; a crop is a view until then, so put it
first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from ivif.contracts.batch import IMAGE_KEYS, Sample
from ivif.datamodules.datasets import boxes, pair_transforms
from ivif.datamodules.datasets.appearance import AddClipViews, AddSaliency, VisibleJitter, uniform
from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule

__all__ = [
    "AddClipViews",
    "AddSaliency",
    "Compose",
    "Letterbox",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotate90",
    "RandomVerticalFlip",
    "RandomZoom",
    "Resize",
    "Transform",
    "VisibleJitter",
]

Transform = Callable[[Sample, Generator], Sample]


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
        return pair_transforms.map_planes(sample, lambda plane, _: pair_transforms.contiguous(plane), IMAGE_KEYS)


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
        height, width = pair_transforms.frame_size(sample)
        top = self._offset(height, self.size[0], generator)
        left = self._offset(width, self.size[1], generator)

        def cut(plane: Tensor, _: str) -> Tensor:
            return self._window(self._window(plane, -2, top, self.size[0]), -1, left, self.size[1])

        return pair_transforms.map_sample(
            sample, cut, lambda targets: boxes.shift_and_clip(targets, left, top, self.size, self.rule)
        )

    @staticmethod
    def _offset(extent: int, wanted: int, generator: Generator) -> int:
        if extent < wanted:
            return -((wanted - extent) // 2)
        return pair_transforms.integer(extent - wanted + 1, generator)

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
        width = pair_transforms.frame_size(sample)[1]
        return pair_transforms.map_sample(
            sample, lambda plane, _: plane.flip(-1), lambda targets: boxes.flip_horizontal(targets, width)
        )


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
        height = pair_transforms.frame_size(sample)[0]
        return pair_transforms.map_sample(
            sample, lambda plane, _: plane.flip(-2), lambda targets: boxes.flip_vertical(targets, height)
        )


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
        turns = pair_transforms.integer(4, generator)
        size = pair_transforms.frame_size(sample)
        if size[0] != size[1]:
            turns = 2 * (turns % 2)
        if not drawn or turns == 0:
            return sample
        return pair_transforms.map_sample(
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
        return pair_transforms.resize(sample, self.size, self.rule)


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
        height, width = pair_transforms.frame_size(sample)
        ratio = self.size / max(height, width)
        inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        sample = pair_transforms.resize(sample, inner, self.rule)
        top, left = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
        return pair_transforms.window(sample, -top, -left, (self.size, self.size), self.rule)


class RandomZoom:
    """Shows the pair larger or smaller, somewhere in a frame of the same size.

    A factor above 1 cuts a random window out and enlarges it; below 1 the whole frame is shown smaller at a random
    place, with grey 114 (0 in the mask) around it. The aspect ratio is kept to the pixel.

    Args:
        factors: Least and largest factor; the draw is uniform between them.
        rule: Which boxes survive: enough of them must be inside, and their shorter side long enough afterwards.

    Raises:
        ValueError: If the factors are not positive or not in order.
    """

    def __init__(self, factors: tuple[float, float], rule: BoxRule = DEFAULT_RULE) -> None:
        if not 0 < factors[0] <= factors[1]:
            raise ValueError(f"RandomZoom's factors are {factors}; they must be positive, the smaller one first.")
        self.factors = factors
        self.rule = rule

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws a factor, a row and a column."""
        size = pair_transforms.frame_size(sample)
        factor = uniform(*self.factors, generator)
        seen = (max(1, round(size[0] / factor)), max(1, round(size[1] / factor)))
        top, left = (self._offset(*extents, generator) for extents in zip(size, seen, strict=True))
        if seen == size:
            return sample
        shown = pair_transforms.window(sample, top, left, seen, replace(self.rule, minimum_side=0.0))
        return pair_transforms.resize(shown, size, self.rule)

    @staticmethod
    def _offset(extent: int, seen: int, generator: Generator) -> int:
        free = extent - seen
        drawn = pair_transforms.integer(abs(free) + 1, generator)
        return drawn if free >= 0 else -drawn


def _rotated(plane: Tensor, turns: int) -> Tensor:
    if turns == 2:
        return plane.flip((-2, -1))
    return torch.from_numpy(np.ascontiguousarray(np.rot90(plane.numpy(), turns, (-2, -1))))  # torch takes twice as long


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
