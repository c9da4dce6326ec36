"""A sentence about a pair from its pictures alone, without boxes or a captioning model: the `auto` prompts."""

import re
from collections import Counter
from typing import Final

import numpy as np
from torch import Tensor
from torch.nn import functional

from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.descriptions import TIME_PHRASES, counted, enumerated, number_word, time_of_day
from ivif.image_ops.color import luma

GRID: Final = (60, 80)
"""Rows and columns of means that a picture is looked at through: what is smaller than a cell says nothing."""

BRIGHT_FROM: Final = 0.65
"""Mean visible luma, in [0, 1], from which on a daytime picture is bright."""

LOW_CONTRAST: Final = 0.12
HIGH_CONTRAST: Final = 0.25
"""Standard deviation of the visible luma, in [0, 1], below and above which contrast is worth a word."""

FOG_BELOW: Final = 0.09
FOG_FROM: Final = 0.4
"""Contrast below which, and median of the darkest colour of each cell from which on, a daytime picture is foggy (He et
al., 2009: without haze most places have a dark colour)."""

WARM_DEVIATIONS: Final = 2.0
WARM_ABOVE: Final = 0.15
"""A cell is warm that lies so many standard deviations, and at least so much of [0, 1], above the infrared mean."""

SMALLEST_SPOT: Final = 4
"""Cells of the smallest warm spot."""

HIDDEN_BELOW: Final = 0.06
"""Difference in visible luma between a warm spot and what surrounds it, in [0, 1], below which it is not seen."""

_PLACES: Final = (" on the left", " in the centre", " on the right")
_CLOCKWISE: Final = ("left", "top", "right", "bottom")
_DIRECTIONS: Final = re.compile(rf"\b({'|'.join(_CLOCKWISE)})\b", re.IGNORECASE)


def describe_pair(infrared: Tensor, visible: Tensor) -> str:
    """Time of day or fog, brightness, contrast, warm spots and their places, how many of them the visible one lacks.

    Args:
        infrared: (1, H, W), uint8 or float32 in [0, 1].
        visible: (3, H, W) RGB, the same.

    Example:
        >>> import torch
        >>> warm, dark = torch.zeros(1, 60, 80), torch.full((3, 60, 80), 0.1)
        >>> warm[:, 20:30, 5:10] = 1.0
        >>> describe_pair(warm, dark)  # doctest: +NORMALIZE_WHITESPACE
        'A scene at night with low contrast. The infrared image shows one warm spot on the left, which the visible image
        lacks.'
    """
    heat, colours = _means(infrared), _means(visible)
    brightness = luma(colours[None])[0]
    contrast = float(brightness.std())
    time = time_of_day(visible)
    if time == "day" and contrast < FOG_BELOW and float(colours.amin(dim=0).median()) >= FOG_FROM:
        time = "fog"
    elif time == "day" and float(brightness.mean()) >= BRIGHT_FROM:
        time = "bright"
    words = TIME_PHRASES[time].format(place="scene")
    if not LOW_CONTRAST <= contrast <= HIGH_CONTRAST:
        words += f" with {'low' if contrast < LOW_CONTRAST else 'high'} contrast"
    return f"{words}. The infrared image shows {_warm_words(heat[0].numpy(), brightness[0].numpy())}."


def turn_words(prompt: str, mirrored: bool, upturned: bool, quarters: int) -> str:
    """The prompt of a picture that was mirrored left to right, turned upside down, then rotated counter-clockwise.

    The words left, top, right and bottom go where the picture's sides go, whoever wrote them.

    Args:
        prompt: The words for the picture as it was.
        mirrored: Whether left and right were exchanged.
        upturned: Whether top and bottom were exchanged.
        quarters: Quarter turns.

    Example:
        >>> turn_words("A car on the left, a lamp on the right.", mirrored=True, upturned=False, quarters=0)
        'A car on the right, a lamp on the left.'
    """

    def moved(found: re.Match[str]) -> str:
        side = _CLOCKWISE.index(found[0].lower())
        side = (side + 2) % 4 if (mirrored, upturned)[side % 2] else side
        word = _CLOCKWISE[(side - quarters) % 4]
        return word.capitalize() if found[0][0].isupper() else word

    turned = _DIRECTIONS.sub(moved, prompt)
    return re.sub(r"\bon the (top|bottom)\b", r"at the \1", turned) if quarters % 2 else turned


def _means(picture: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(plane_to_float(picture.contiguous()), GRID)


def _warm_words(heat: np.ndarray, brightness: np.ndarray) -> str:
    from scipy import ndimage  # takes a second to import

    warm = heat > heat.mean() + max(WARM_DEVIATIONS * heat.std(), WARM_ABOVE)
    labels, found = ndimage.label(warm)
    spots = [spot for number in range(1, found + 1) if (spot := labels == number).sum() >= SMALLEST_SPOT]
    if not spots:
        return "no warm spots"
    columns = [ndimage.center_of_mass(spot)[1] for spot in spots]
    places = Counter(min(2, int(3 * (column + 0.5) / GRID[1])) for column in columns)
    shown = enumerated([f"{counted('warm spot', places[place])}{_PLACES[place]}" for place in sorted(places)])
    hidden = sum(_is_hidden(spot, warm, brightness) for spot in spots)
    if not hidden:
        return shown
    which = "which" if hidden == len(spots) else f"{number_word(hidden)} of which"
    return f"{shown}, {which} the visible image lacks"


def _is_hidden(spot: np.ndarray, warm: np.ndarray, brightness: np.ndarray) -> bool:
    from scipy import ndimage

    around = ndimage.binary_dilation(spot, iterations=3) & ~warm
    return bool(abs(brightness[spot].mean() - brightness[around].mean()) < HIDDEN_BELOW) if around.any() else False
