"""What the two levels see of one batch: whole frames for detection, crops of the same frames for fusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, cast

import torch
from torch import Tensor

from ivif.contracts.batch import SPATIAL_KEYS, Batch
from ivif.image_ops.color import luma
from ivif.image_ops.saliency import saliency_pair

SMALLEST_CROP: Final = 16
"""Least side of a crop, in pixels."""


@dataclass(frozen=True)
class CropConfig:
    """Random square crops of each frame, on which the fusion loss is computed.

    From Text to Pixels trains fusion on small pictures in large batches and its detector on whole frames: 16 frames
    with 4 crops of 128 pixels each give the paper's batch of 64.

    Args:
        size: Side in pixels; `None` or a side beyond the frame's takes whole frames.
        per_frame: Crops of each frame.

    Raises:
        ValueError: If a number is out of range.
    """

    size: int | None = 128
    per_frame: int = 4

    def __post_init__(self) -> None:
        if self.size is not None and self.size < SMALLEST_CROP:
            raise ValueError(
                f"crops.size is {self.size}; it must be at least {SMALLEST_CROP} pixels, or null for whole frames."
            )
        if self.per_frame < 1:
            raise ValueError(f"crops.per_frame is {self.per_frame}; it must be at least 1.")

    def cut(self, batch: Batch, saliency: bool = True) -> Batch:
        """Draws the crops from torch's generator; every plane of a frame is cut alike. Boxes are left out.

        Saliency weighs a pixel by its contrast to the whole frame, so it is computed before cutting, unless the batch
        brings it along.

        Args:
            batch: Whole frames.
            saliency: Whether the crops shall have it.
        """
        planes: dict[str, Tensor] = {key: value for key, value in batch.items() if key in SPATIAL_KEYS}  # type: ignore[misc]
        if saliency and "saliency" not in planes:
            planes["saliency"] = saliency_pair(batch["infrared"], luma(batch["visible"]))
        count, height, width = len(batch["name"]), *batch["infrared"].shape[-2:]
        if self.size is None or self.size > min(height, width):
            return _with_planes(batch, planes, list(range(count)))
        owners = [index for index in range(count) for _ in range(self.per_frame)]
        tops = torch.randint(height - self.size + 1, (len(owners),)).tolist()
        lefts = torch.randint(width - self.size + 1, (len(owners),)).tolist()
        where = list(zip(owners, tops, lefts, strict=True))
        side = self.size
        cut = {
            key: torch.stack([plane[i, :, top : top + side, left : left + side] for i, top, left in where])
            for key, plane in planes.items()
        }
        return _with_planes(batch, cut, owners)


@dataclass(frozen=True)
class LevelBatch:
    """One batch as both levels see it.

    Args:
        frames: Whole frames with boxes.
        crops: What the fusion loss is computed on; with `saliency` where the loss asks for it, with `previous` where
            there is an earlier result.
    """

    frames: Batch
    crops: Batch

    def split(self, parts: int) -> list["LevelBatch"]:
        """Parts of equal size, as far as the counts divide; never an empty one."""
        parts = min(parts, len(self.frames["name"]), len(self.crops["name"]))
        frames, crops = (_chunks(batch, parts) for batch in (self.frames, self.crops))
        return [LevelBatch(*pair) for pair in zip(frames, crops, strict=True)]


def _with_planes(batch: Batch, planes: dict[str, Tensor], owners: Sequence[int]) -> Batch:
    lists = {
        key: [value[index] for index in owners]
        for key, value in batch.items()
        if isinstance(value, list) and key != "targets"
    }
    return cast("Batch", {**planes, **lists})


def _chunks(batch: Batch, parts: int) -> list[Batch]:
    count = len(batch["name"])
    bounds = [round(index * count / parts) for index in range(parts + 1)]
    return [
        cast("Batch", {key: value[start:stop] for key, value in batch.items()})  # type: ignore[index]
        for start, stop in pairwise(bounds)
    ]
