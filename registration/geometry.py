"""Transforms between two pictures: 3x3 matrices on pixel centres (x, y), of which (0, 0) is the first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
Plane = NDArray[Any]
Size = tuple[int, int]
"""(height, width) in pixels."""


def stretch(source: Size, target: Size) -> Matrix:
    """The transform from one picture's pixels to those of the same picture in another size."""
    down, across = (wanted / given for wanted, given in zip(target, source, strict=True))
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])


def corners(size: Size) -> Matrix:
    """Its four outer pixels (4, 2), clockwise from the first."""
    bottom, right = size[0] - 1.0, size[1] - 1.0
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])


def apply(matrix: Matrix, points: Matrix) -> Matrix:
    """Points (N, 2) under a transform."""
    moved = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def corner_distance(first: Matrix, second: Matrix, size: Size) -> float:
    """How far apart two transforms of one picture put its corners: the mean of four, in pixels of the target."""
    apart = apply(first, corners(size)) - apply(second, corners(size))
    return float(np.linalg.norm(apart, axis=1).mean())


@dataclass(frozen=True)
class Motion:
    """What a transform does about the middle of a picture.

    Args:
        across: Shift to the right, in pixels.
        down: Shift down, in pixels.
        degrees: Turn, clockwise on the screen.
        scale: Growth of lengths.
    """

    across: float
    down: float
    degrees: float
    scale: float


def motion(matrix: Matrix, size: Size) -> Motion:
    """Where a transform between two pictures of one size brings the middle, and how it turns and scales around it."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    places = apply(matrix, middle + np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]]))
    (xx, yx), (xy, yy) = places[1] - places[2], places[3] - places[4]
    turn = np.rad2deg(np.arctan2(yx - xy, xx + yy))
    across, down = places[0] - middle
    return Motion(float(across), float(down), float(turn), float(np.sqrt(abs(xx * yy - xy * yx))))


def warp(picture: Plane, matrix: Matrix, size: Size, fill: float | None = None) -> Plane:
    """A picture as seen in another frame.

    Args:
        picture: (H, W), uint8, uint16 or float32.
        matrix: From pixels of that frame to pixels of the picture.
        size: Of that frame.
        fill: What stands where the picture has nothing; default: its least value, which is cold in infrared, and stays
            within the picture's range.
    """
    value = float(picture.min()) if fill is None else fill
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(
        picture, matrix, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=value
    )


def move_boxes(
    boxes: Matrix, matrix: Matrix, size: Size, then: Callable[[Matrix], Matrix] | None = None
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Boxes of one picture in the frame of another: the upright boxes around what they become, cut at the frame.

    Args:
        boxes: (N, 4) xyxy, edges of pixels.
        matrix: From pixels of the boxes' picture to pixels of the frame.
        size: Of the frame.
        then: What else moves points (N, 2) of the frame, after the transform.

    Returns:
        The boxes (N, 4), and which of them (N,) are still in the frame.
    """
    edges = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2) - 0.5  # an edge lies half a pixel from a centre
    points = apply(matrix, edges)
    moved = (points if then is None else then(points)).reshape(-1, 4, 2) + 0.5
    limits = np.array([size[1], size[0]], dtype=float)
    least, most = moved.min(1).clip(0, limits), moved.max(1).clip(0, limits)
    return np.c_[least, most], np.asarray(((most - least) >= 1).all(1))
