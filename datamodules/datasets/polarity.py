"""Whether infrared may show warm as dark: a guess from people, who are mostly warmer than what is around them."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

PEOPLE: Final = frozenset(("person", "people", "pedestrian"))

_SIDE: Final = 6
"""Pixels of a box's shorter side from which on it is looked at."""

_FEWEST: Final = 30
_SHARE: Final = 0.8
"""People that must be there, and share of them that must be darker, for a word."""

_STEPS: Final = 0.04
"""Difference that counts, of the whole range."""


def darker_people(plane: NDArray[np.float32], boxes: Iterable[Iterable[float]]) -> list[int]:
    """For each person -1 if it is darker than what is around, 1 if brighter, 0 if next to alike.

    Args:
        plane: (H, W) infrared in [0, 1].
        boxes: Left, top, right, bottom of people, in pixels.
    """
    signs = []
    for left, top, right, bottom in (map(round, box) for box in boxes):
        width, height = right - left, bottom - top
        if min(width, height) < _SIDE:
            continue
        inner = plane[top + height // 4 : bottom - height // 4, left + width // 4 : right - width // 4]
        outer = plane[max(0, top - height // 4) : bottom + height // 4, max(0, left - width) : right + width]
        apart = float(np.median(inner) - np.median(outer))
        signs.append(0 if abs(apart) < _STEPS else 1 if apart > 0 else -1)
    return signs


def polarity_finding(signs: list[int]) -> list[str]:
    """A hint where most people of a dataset are darker than what is around them; nothing is changed by it."""
    dark, told = signs.count(-1), len(signs)
    if told < _FEWEST or dark < _SHARE * told:
        return []
    return [
        f"{dark} of {told} people that were looked at are darker than what is around them: infrared may be black-hot "
        f"(warm is dark). Networks here learnt white-hot; if it is, set the camera to white-hot, or invert the pictures"
    ]
