"""Flips and rotation by 90 degrees in one: the training transform that copies each plane once, at its end."""

from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Generator

from ivif.contracts.batch import SPATIAL_KEYS, Sample
from ivif.datamodules.datasets import boxes
from ivif.datamodules.datasets.appearance import uniform


class RandomTurn:
    """`RandomHorizontalFlip`, `RandomVerticalFlip` and `RandomRotate90` in this order: their draws and their results.

    One after the other they would copy the planes up to four times, which is 2 % of decoding a 640x480 PNG pair.

    Args:
        flip: With the two flips; `horizontal`: with the horizontal one alone.
        rotate90: With the rotation.
    """

    def __init__(self, flip: bool | Literal["horizontal"] = True, rotate90: bool = True) -> None:
        self.flip = flip
        self.rotate90 = rotate90

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws as the three do; planes come out contiguous."""
        wanted = (bool(self.flip), self.flip is True)
        mirrored, upturned = (uniform(0.0, 1.0, generator) < 0.5 if flips else False for flips in wanted)
        height, width = sample["visible"].shape[-2:]
        turns = 0
        if self.rotate90:
            uniform(0.0, 1.0, generator)  # whether to turn at all: always
            turns = int(torch.randint(4, (), generator=generator))
            turns = turns if height == width else 2 * (turns % 2)
        changed: dict[str, Any] = dict(sample)
        for key in SPATIAL_KEYS:
            if key in changed:
                pixels = changed[key].numpy()[..., :: -1 if upturned else 1, :: -1 if mirrored else 1]
                changed[key] = torch.from_numpy(np.ascontiguousarray(_turned(pixels, turns)))
        if "targets" in changed and len(changed["targets"]["boxes"]):
            targets = changed["targets"]
            targets = boxes.flip_horizontal(targets, width) if mirrored else targets
            targets = boxes.flip_vertical(targets, height) if upturned else targets
            changed["targets"] = boxes.rotate_90(targets, (height, width), turns)
        return cast("Sample", changed)


def _turned(pixels: Any, turns: int) -> Any:
    """`np.rot90` of the last two axes, as a view."""
    if turns == 2:
        return pixels[..., ::-1, ::-1]
    if turns == 1:
        return pixels.swapaxes(-1, -2)[..., ::-1, :]
    return pixels.swapaxes(-1, -2)[..., ::-1] if turns == 3 else pixels
