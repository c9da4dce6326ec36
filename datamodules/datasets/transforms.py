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

from ivif.contracts.batch import IMAGE_KEYS, Sample, Targets
from ivif.datamodules.datasets import boxes, pair_transforms
from ivif.datamodules.datasets.appearance import uniform
from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule
from ivif.datamodules.datasets.picture_words import turn_words

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
    """Cuts the same random window from every spatial plane; mirrors what is smaller at its edges, evenly on both sides.

    Args:
        size: Height and width of the window, or one number for a square.
        rule: Which boxes survive.
    """

    def __init__(self, size: int | tuple[int, int], rule: BoxRule = DEFAULT_RULE) -> None:
        self.size = (size, size) if isinstance(size, int) else size
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
        period = max(1, 2 * (extent - 1))  # a mirror repeats, so any amount of padding works
        positions = torch.arange(start, start + length).remainder(period)
        positions = torch.where(positions < extent, positions, period - positions)
        return plane.index_select(dimension, positions)


class RandomFlipRotate90:
    """Mirrors left to right, turns upside down, and rotates by a multiple of 90 degrees; each plane is copied once.

    The words left, right, top and bottom of a prompt turn with them.

    Frames that are not square are rotated by 0 or 180 degrees alone, as their size must not change.

    Args:
        flip: Whether to flip, each of the two in half of the cases; `horizontal`: left to right alone.
        rotate90: Whether to rotate.
    """

    def __init__(self, flip: bool | Literal["horizontal"] = True, rotate90: bool = True) -> None:
        self.flip = flip
        self.rotate90 = rotate90

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws once for each flip and twice for the rotation; planes come out contiguous."""
        wanted = (bool(self.flip), self.flip is True)
        mirrored, upturned = (uniform(0.0, 1.0, generator) < 0.5 if flips else False for flips in wanted)
        height, width = pair_transforms.frame_size(sample)
        quarters = 0
        if self.rotate90:
            uniform(0.0, 1.0, generator)  # unused: what a seed gives stays as it was
            quarters = pair_transforms.integer(4, generator)
            quarters = quarters if height == width else 2 * (quarters % 2)

        def change(plane: Tensor, _: str) -> Tensor:
            pixels = plane.numpy()[..., :: -1 if upturned else 1, :: -1 if mirrored else 1]
            return torch.from_numpy(np.ascontiguousarray(np.rot90(pixels, quarters, (-2, -1))))

        def move(targets: Targets) -> Targets:
            targets = boxes.flip_horizontal(targets, width) if mirrored else targets
            targets = boxes.flip_vertical(targets, height) if upturned else targets
            return boxes.rotate_90(targets, (height, width), quarters)

        turned = pair_transforms.map_sample(sample, change, move)
        if "prompt" in turned:
            turned["prompt"] = turn_words(turned["prompt"], mirrored, upturned, quarters)
        return turned


class Resize:
    """Resizes every spatial plane: bilinear with antialiasing, the mask by its nearest value.

    Args:
        size: Height and width; the aspect ratio is not kept.
        rule: Which boxes survive (its minimum side, measured afterwards).
    """

    def __init__(self, size: tuple[int, int], rule: BoxRule = DEFAULT_RULE) -> None:
        self.size = size
        self.rule = rule

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws nothing."""
        return pair_transforms.resize(sample, self.size, self.rule)


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
