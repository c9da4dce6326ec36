"""Four pairs in one frame: the augmentation that shows a detector more objects, and in other surroundings."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, cast

import torch
from torch import Generator, Tensor

from ivif.contracts.batch import SPATIAL_KEYS, Sample, Targets, empty_targets
from ivif.datamodules.datasets import pair_transforms
from ivif.datamodules.datasets.appearance import uniform
from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule

_NEAREST_EDGE: Final = 0.25
"""How close the meeting point may come to an edge, as a share of the side: every pair shows a part worth looking at."""


class Mosaic:
    """Joins four pairs of one size: their windows meet at a random point of the frame, each cut at a random place.

    Nothing is scaled. Infrared, visible, boxes and all further planes move together. Name, data set and prompt stay
    those of the first pair; the content id is one of all four.

    Args:
        probability: Of joining at all, in [0, 1].
        rule: Which boxes survive the cuts.
    """

    def __init__(self, probability: float, rule: BoxRule = DEFAULT_RULE) -> None:
        self.probability = probability
        self.rule = rule

    def others(self, length: int, generator: Generator) -> list[int]:
        """Draws whether to join, and then the indices of three more of `length` pairs; an empty list: do not."""
        if uniform(0.0, 1.0, generator) >= self.probability:
            return []
        return [pair_transforms.integer(length, generator) for _ in range(3)]

    def join(self, samples: Sequence[Sample], generator: Generator) -> Sample:
        """Draws the meeting point and four windows.

        Args:
            samples: Four pairs, placed at the upper left, upper right, lower left and lower right.
            generator: Source of the draws.

        Raises:
            ValueError: If the pairs differ in size or in what they hold.
        """
        height, width = _common_size(samples)
        row = round(height * uniform(_NEAREST_EDGE, 1 - _NEAREST_EDGE, generator))
        column = round(width * uniform(_NEAREST_EDGE, 1 - _NEAREST_EDGE, generator))
        corners = [(0, 0), (0, column), (row, 0), (row, column)]
        sizes = [(row, column), (row, width - column), (height - row, column), (height - row, width - column)]
        windows = []
        for sample, size in zip(samples, sizes, strict=True):
            top = pair_transforms.integer(height - size[0] + 1, generator)
            left = pair_transforms.integer(width - size[1] + 1, generator)
            windows.append(pair_transforms.window(sample, top, left, size, self.rule))
        joined: dict[str, Any] = dict(samples[0])
        for key in SPATIAL_KEYS:
            if key in joined:
                joined[key] = _tiled(
                    [cast("dict[str, Any]", shown)[key] for shown in windows], corners, (height, width)
                )
        if "targets" in joined:
            joined["targets"] = _gathered([shown["targets"] for shown in windows], corners)
        joined["content_id"] = hashlib.blake2b(
            "".join(sample["content_id"] for sample in samples).encode(), digest_size=16
        ).hexdigest()
        if "picture_ids" in joined:
            joined["picture_ids"] = "".join(sample["picture_ids"] for sample in samples)
        return cast("Sample", joined)


def _common_size(samples: Sequence[Sample]) -> tuple[int, int]:
    sizes, keys = {pair_transforms.frame_size(sample) for sample in samples}, {frozenset(sample) for sample in samples}
    if len(sizes) > 1 or len(keys) > 1:
        described = ", ".join(
            f"{sample['dataset']}/{sample['name']} {pair_transforms.frame_size(sample)} with {sorted(sample)}"
            for sample in samples
        )
        raise ValueError(
            f"A mosaic needs four pairs of one size that hold the same, not {described}. Set transforms.resize, give "
            f"every dataset the same options, or set transforms.mosaic to 0."
        )
    return sizes.pop()


def _tiled(planes: Sequence[Tensor], corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    if len({plane.dtype for plane in planes}) > 1:
        planes = [plane.float() / 255 if plane.dtype == torch.uint8 else plane for plane in planes]
    canvas = planes[0].new_empty((planes[0].shape[0], *size))
    for plane, (top, left) in zip(planes, corners, strict=True):
        canvas[:, top : top + plane.shape[-2], left : left + plane.shape[-1]] = plane
    return canvas


def _gathered(targets: Sequence[Targets], corners: Sequence[tuple[int, int]]) -> Targets:
    offsets = torch.tensor([(left, top, left, top) for top, left in corners], dtype=torch.float32)
    gathered: Targets = {
        "boxes": torch.cat([part["boxes"] + offset for part, offset in zip(targets, offsets, strict=True)]),
        "labels": torch.cat([part["labels"] for part in targets]),
    }
    regions = [part.get("ignored", empty_targets()) for part in targets]
    has_regions = any("ignored" in part for part in targets)
    return {**gathered, "ignored": _gathered(regions, corners)} if has_regions else gathered
