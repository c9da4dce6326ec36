"""What infrared and visible pictures have in common: where edges are and how they lie, not which side is brighter.

Each pixel gets the strength of edges in eight directions around it, after Ye et al., "Fast and Robust Matching for
Multimodal Remote Sensing Image Registration" (CFOG), IEEE TGRS 2019.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ivif.registration.geometry import Matrix, Plane, Size, stretch, warp

Floats = NDArray[np.float32]

DIRECTIONS: Final = 8
_SMOOTHING: Final = 1.0
_POOLING: Final = 1.5
_FAINT: Final = 0.5
"""Edges of so many times the median strength count half."""

_RIM: Final = 3
"""Pixels beside a border in which an edge would be the border's own."""

SEEN: Final = 0.999
"""A warped pixel has seen a picture where more than so much of it comes from there."""


@dataclass(frozen=True)
class View:
    """One picture at one size.

    Args:
        edges: (8, h, w) strength of edges by direction, in [0, 1].
        seen: (h, w) 1 where there is a picture, 0 in a flat border.
        scale: From pixels of the whole picture to pixels of this size.
    """

    edges: Floats
    seen: Floats
    scale: Matrix

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.seen.shape[0], self.seen.shape[1]

    def warped(self, matrix: Matrix, size: Size) -> tuple[Floats, Floats]:
        """Edges and what is seen, in another frame."""
        edges = np.stack([warp(channel, matrix, size, 0.0) for channel in self.edges])
        return edges, (warp(self.seen, matrix, size, 0.0) > SEEN).astype(np.float32)


def view(picture: Plane, size: Size) -> View:
    """A picture (H, W) at a size not above its own."""
    across = (size[1], size[0])
    small = cv2.resize(picture.astype(np.float32), across, interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = cv2.resize(_without_flat_border(picture), across, interpolation=cv2.INTER_AREA)
    whole = (picture.shape[0], picture.shape[1])
    edges, inner = _edges(small, (seen > SEEN).astype(np.float32))
    return View(edges, inner, stretch(whole, size))


def _without_flat_border(picture: Plane) -> Floats:
    """1 inside, 0 where one value reaches from a corner: bars, or the rest of an earlier warp."""
    height, width = picture.shape
    reached = np.zeros((height + 2, width + 2), np.uint8)
    values = picture.astype(np.float32)
    for y, x in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)):
        if not reached[y + 1, x + 1]:
            cv2.floodFill(values, reached, (x, y), 0, 0, 0, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    return (1 - reached[1:-1, 1:-1]).astype(np.float32)


def _edges(picture: Floats, seen: Floats) -> tuple[Floats, Floats]:
    smooth = cv2.GaussianBlur(picture, (0, 0), _SMOOTHING)
    rim = np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)
    inner = cv2.erode(seen, rim, borderType=cv2.BORDER_CONSTANT, borderValue=(1.0,))
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) * inner
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) * inner
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    directions = [(np.float32(np.cos(angle)), np.float32(np.sin(angle))) for angle in angles]
    strength = np.stack(
        [cv2.GaussianBlur(np.abs(across * x + down * y), (0, 0), _POOLING) for x, y in directions]
    )  # absolute: what is warm may be dark in the other picture
    strength = (np.roll(strength, 1, 0) + 2 * strength + np.roll(strength, -1, 0)) / 4
    length = np.sqrt((strength**2).sum(0))
    faint = _FAINT * float(np.median(length[inner > 0])) if inner.any() else 1.0
    edges = strength / np.sqrt(length**2 + faint**2 + 1e-6)
    return edges.astype(np.float32), inner.astype(np.float32)
