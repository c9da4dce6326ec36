"""What joint transforms are made of: changes that every spatial plane of a sample and its boxes go through together."""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from ivif.contracts.batch import SPATIAL_KEYS, Sample, Targets
from ivif.datamodules.datasets import boxes
from ivif.datamodules.datasets.boxes import BoxRule

GREY: Final = 114
"""Filling around images that do not cover their frame, as YOLO detectors are trained with; the mask takes 0."""


def map_planes(sample: Sample, change: Callable[[Tensor, str], Tensor], keys: Sequence[str]) -> Sample:
    """A new sample in which `change(plane, key)` has replaced the planes of these keys."""
    changed: dict[str, Any] = dict(sample)
    for key in keys:
        if key in changed:
            changed[key] = change(changed[key], key)
    return cast("Sample", changed)


def map_sample(sample: Sample, change: Callable[[Tensor, str], Tensor], move: Callable[[Targets], Targets]) -> Sample:
    """A new sample in which every spatial plane has changed, and the boxes have moved with them."""
    changed = map_planes(sample, change, SPATIAL_KEYS)
    if "targets" in changed:
        changed["targets"] = move(changed["targets"])
    return changed


def fit(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """An infrared plane at its visible image's (height, width): bilinear with antialiasing."""
    return cast("Tensor", geometry.resize(plane, list(size), InterpolationMode.BILINEAR, antialias=True))


def resize(sample: Sample, size: tuple[int, int], rule: BoxRule) -> Sample:
    """Every spatial plane resized to (height, width): bilinear with antialiasing, the mask by its nearest value."""
    height, width = frame_size(sample)

    def change(plane: Tensor, key: str) -> Tensor:
        mode = InterpolationMode.NEAREST_EXACT if key == "mask" else InterpolationMode.BILINEAR
        return cast("Tensor", geometry.resize(plane, list(size), mode, antialias=key != "mask"))

    return map_sample(sample, change, lambda targets: boxes.scale(targets, size[1] / width, size[0] / height, rule))


def window(sample: Sample, top: int, left: int, size: tuple[int, int], rule: BoxRule) -> Sample:
    """What a window of (height, width) `size` shows, whose upper left corner is at (`top`, `left`); grey outside.

    Planes are views where the window lies inside the frame.
    """
    height, width = size

    def cut(plane: Tensor, key: str) -> Tensor:
        inside = plane[..., max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        if inside.shape[-2:] == size:
            return inside
        grey = 0 if key == "mask" else GREY
        framed = plane.new_full((plane.shape[0], *size), grey if plane.dtype == torch.uint8 else grey / 255)
        row, column = max(0, -top), max(0, -left)
        framed[:, row : row + inside.shape[-2], column : column + inside.shape[-1]] = inside
        return framed

    return map_sample(sample, cut, lambda targets: boxes.shift_and_clip(targets, left, top, size, rule))


def frame_size(sample: Sample) -> tuple[int, int]:
    """(height, width) of a sample, i.e. of its visible image."""
    return sample["visible"].shape[-2], sample["visible"].shape[-1]


def contiguous(plane: Tensor) -> Tensor:
    """The plane, copied where its memory is not in order."""
    # NumPy takes decoded RGB apart into planes a little faster than torch
    return plane if plane.is_contiguous() else torch.from_numpy(np.ascontiguousarray(plane.numpy()))


def integer(below: int, generator: Generator) -> int:
    """One draw from 0 to `below` - 1."""
    return int(torch.randint(below, (), generator=generator))
