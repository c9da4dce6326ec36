"""Pictures that can be read and are still not what they should be: swapped folders, false colours, unused bits."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ivif.datamodules.datasets.io import is_colourful, to_infrared, to_visible
from ivif.datamodules.datasets.palettes import find_palette
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.thermal import Pixels, ThermalRange

_STEP: Final = 4
"""Every fourth row and column is looked at."""

FLAT: Final = 0.05
"""Contrast of a picture of more than 8 bits below which it is next to one grey."""


@dataclass(frozen=True)
class PictureFacts:
    """What one picture holds.

    Args:
        channels: As stored: 1 or 3.
        colourful: Whether the channels differ.
        palette: Of infrared in false colours: the known palette that they come from, else empty.
        deep: Whether it has more than 8 bits.
        highest: Largest stored value.
        contrast: Between its darkest and its brightest hundredth, in [0, 1], after scaling.
        digest: Of the pixels, equal for equal pictures, in one channel or three; empty for one that is all the same.
    """

    channels: int
    colourful: bool
    deep: bool
    highest: float
    contrast: float
    digest: str = ""
    palette: str = ""


def picture_facts(pixels: Pixels, thermal_range: ThermalRange | None = None) -> PictureFacts:
    """What decoded pixels hold.

    Args:
        pixels: (H, W) or (H, W, 3), as `read_image` returns them.
        thermal_range: Of an infrared picture: how it is scaled; None for a visible one.

    Raises:
        ValueError: If they cannot be scaled so.
    """
    seen = pixels[::_STEP, ::_STEP]
    deep = pixels.dtype != np.uint8
    contrast = 1.0
    if deep:
        scaled = to_visible(seen) if thermal_range is None else to_infrared(seen, thermal_range)
        low, high = np.percentile(scaled.numpy(), (1, 99))
        contrast = float(high - low)
    channels, highest, colourful = 1 if pixels.ndim == 2 else 3, float(seen.max()), is_colourful(seen)
    digest = _digest(seen) if seen.min() < highest else ""
    false = colourful and not deep and thermal_range is not None
    palette = (find_palette(seen) or "") if false else ""
    return PictureFacts(channels, colourful, deep, highest, contrast, digest, palette)


def _digest(pixels: Pixels) -> str:
    is_grey = pixels.ndim == 3 and not np.ptp(pixels, axis=-1).any()
    plane = np.ascontiguousarray(pixels[..., 0] if is_grey else pixels)
    return hashlib.blake2b(plane.tobytes() + str(plane.shape).encode(), digest_size=16).hexdigest()


def picture_findings(
    infrared: Sequence[PictureFacts], visible: Sequence[PictureFacts], reading: ReadingConfig
) -> list[str]:
    """A line for each thing that looks wrong with pictures of one dataset, with the remedy.

    Args:
        infrared: Of its pairs, or of some of them.
        visible: Of the same pairs.
        reading: How they are read.
    """
    lines = []
    if same := sum(
        bool(one.digest) and one.digest == other.digest for one, other in zip(infrared, visible, strict=True)
    ):
        lines.append(
            f"{same} of {len(infrared)} pairs are one picture twice, stored under two names. Give the infrared and the "
            f"visible picture of each"
        )
    coloured = sum(facts.colourful for facts in infrared)
    if coloured > len(infrared) / 2 and not any(facts.colourful for facts in visible):
        lines.append(
            f"{coloured} of {len(infrared)} infrared pictures are in colour and no visible one is: the two folders "
            f"look swapped. Exchange them"
        )
    elif coloured:
        lines.append(f"{coloured} of {len(infrared)} infrared pictures are in {_false_colours(infrared, reading)}")
    deep = sum(facts.deep for facts in infrared)
    if 0 < deep < len(infrared):
        lines.append(
            f"{deep} of {len(infrared)} infrared pictures have more than 8 bits and the others have 8: both are scaled "
            f"in different ways. Store all of them with one depth"
        )
    return (
        lines + _flat(infrared, "infrared", _stretch(reading.thermal_range)) + _flat(visible, "visible", "Store 8 bits")
    )


def depth_findings(
    declared: Counter[int], infrared: Sequence[PictureFacts], visible: Sequence[PictureFacts]
) -> list[str]:
    """A line where label files declare another number of channels (VOC `<depth>`) than their pictures have."""
    both = (*infrared, *visible)
    wrong = 0
    if both and all(facts.channels == 1 for facts in both):
        wrong = declared[3]
    if both and all(facts.colourful for facts in both):
        wrong = declared[1]
    if not wrong:
        return []
    return [
        f"{wrong} label(s) declare a <depth> that neither picture of their pairs has. Use the pictures that were "
        f"labelled, or correct the number"
    ]


def _false_colours(infrared: Sequence[PictureFacts], reading: ReadingConfig) -> str:
    """The rest of a sentence about infrared in colours: which, what is done with them, and the remedy."""
    known = Counter(facts.palette for facts in infrared if facts.palette)
    named = ", ".join(f"{palette} {count}" for palette, count in known.most_common())
    if reading.infrared_color == "luma":
        remedy = "Set `reading.infrared_color` to 'invert'" if known else "Take the grey pictures of the camera"
        return (
            f"(false) colours{f' ({named})' * bool(known)}, of which the luma is taken: it does not grow with "
            f"temperature. {remedy}"
        )
    if reading.infrared_color == "invert" and known.total() == sum(facts.colourful for facts in infrared):
        return (
            f"false colours of a known palette ({named}), which are turned back into intensities. The "
            f"camera's grey pictures are exact: take them where you have them"
        )
    return (
        f"(false) colours{f' (known: {named})' * bool(known)}, and the reader will stop at them. Take the grey "
        f"pictures of the camera, or set `reading.infrared_color` to 'luma'"
    )


def _flat(facts: Sequence[PictureFacts], what: str, remedy: str) -> list[str]:
    flat = [picture for picture in facts if picture.deep and picture.contrast < FLAT]
    deep = sum(picture.deep for picture in facts)
    if not flat or len(flat) < deep / 2:
        return []
    highest = max(picture.highest for picture in flat)
    return [
        f"{len(flat)} of {deep} {what} pictures of more than 8 bits come out as next to one grey (stored values up to "
        f"{highest:g}). {remedy}"
    ]


def _stretch(thermal_range: ThermalRange) -> str:
    if thermal_range.mode == "percentile":
        return "Set `reading.thermal_range.mode` to 'fixed' with `low` and `high`"
    return "Set `reading.thermal_range.mode` to 'auto', or to 'fixed' with `low` and `high`"
