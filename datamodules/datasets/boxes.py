"""What geometric transforms do to boxes: (N, 4) float32 xyxy in pixels; every function returns new targets.

Ignored regions go the same way, but whatever is left of one at an edge stays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivif.contracts.batch import Targets

Corners = NDArray[np.float32]


@dataclass(frozen=True)
class BoxRule:
    """Which boxes survive a transform.

    Args:
        minimum_visible: A cropped box stays only if at least this fraction of its area is still inside.
        minimum_side: And only if its shorter side is at least this many pixels afterwards.
    """

    minimum_visible: float = 0.25
    minimum_side: float = 2.0


DEFAULT_RULE: Final = BoxRule()


def shift_and_clip(targets: Targets, left: float, top: float, size: tuple[int, int], rule: BoxRule) -> Targets:
    """Boxes seen through a window.

    Args:
        targets: The objects.
        left: Column of the window's left edge (negative: the image was padded).
        top: Row of the window's upper edge.
        size: (height, width) of the window.
        rule: Which boxes survive.

    Returns:
        Boxes in the window's coordinates, clipped to it, without those that the rule drops.
    """
    if len(targets["boxes"]) == 0 and "ignored" not in targets:
        return targets
    # NumPy: a dozen operations on a few boxes cost three times as much in torch
    shifted = targets["boxes"].numpy() - np.array([left, top, left, top], dtype=np.float32)
    clipped = np.clip(shifted, 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
    sides = clipped[:, 2:] - clipped[:, :2]
    full = shifted[:, 2:] - shifted[:, :2]
    visible = sides[:, 0] * sides[:, 1] >= rule.minimum_visible * (full[:, 0] * full[:, 1])
    kept = _keep(clipped, targets["labels"], visible & _large(sides, rule))
    whole = replace(rule, minimum_visible=0.0)
    return _with_regions(kept, targets, lambda regions: shift_and_clip(regions, left, top, size, whole))


def scale(targets: Targets, factor_x: float, factor_y: float, rule: BoxRule) -> Targets:
    """Boxes of a resized image, without those that became too small."""
    factors = np.array([factor_x, factor_y, factor_x, factor_y], dtype=np.float32)
    boxes = targets["boxes"].numpy() * factors
    kept = _keep(boxes, targets["labels"], _large(boxes[:, 2:] - boxes[:, :2], rule))
    return _with_regions(kept, targets, lambda regions: scale(regions, factor_x, factor_y, rule))


def flip_horizontal(targets: Targets, width: int) -> Targets:
    """Boxes of an image of this width, mirrored left to right."""
    return _moved(targets, (2, 1, 0, 3), (width, None, width, None))


def flip_vertical(targets: Targets, height: int) -> Targets:
    """Boxes of an image of this height, turned upside down."""
    return _moved(targets, (0, 3, 2, 1), (None, height, None, height))


def rotate_90(targets: Targets, size: tuple[int, int], quarter_turns: int) -> Targets:
    """Boxes of an image of (height, width) `size`, turned counter-clockwise, as `torch.rot90` over (H, W) turns it."""
    height, width = size
    for _ in range(quarter_turns % 4):
        targets = _moved(targets, (1, 2, 3, 0), (None, width, None, width))
        height, width = width, height
    return targets


def _moved(targets: Targets, order: tuple[int, ...], mirrors: tuple[int | None, ...]) -> Targets:
    """Corners in another order; a coordinate that has a mirror becomes its distance from there."""
    if len(targets["boxes"]) == 0 and "ignored" not in targets:
        return targets
    boxes = np.take(targets["boxes"].numpy(), order, axis=1)
    for column, mirror in enumerate(mirrors):
        if mirror is not None:
            boxes[:, column] = mirror - boxes[:, column]
    moved: Targets = {"boxes": torch.from_numpy(boxes), "labels": targets["labels"]}
    return _with_regions(moved, targets, lambda regions: _moved(regions, order, mirrors))


def _with_regions(moved: Targets, before: Targets, move: Callable[[Targets], Targets]) -> Targets:
    """Moved objects, and with them the ignored regions, where there are any."""
    return {**moved, "ignored": move(before["ignored"])} if "ignored" in before else moved


def _large(sides: Corners, rule: BoxRule) -> NDArray[np.bool_]:
    return np.greater_equal(np.minimum(sides[:, 0], sides[:, 1]), max(rule.minimum_side, 1e-6))


def _keep(boxes: Corners, labels: Tensor, kept: NDArray[np.bool_]) -> Targets:
    return {"boxes": torch.from_numpy(boxes[kept]), "labels": torch.from_numpy(labels.numpy()[kept])}
