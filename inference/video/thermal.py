"""The thermal range of a whole video: of every frame the same, or the picture would flicker."""

from itertools import chain

import numpy as np

from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.errors import UserError
from ivif.files.names import printable
from ivif.inference.video.footage import Footage


def range_of_video(footage: Footage, wanted: ThermalRange) -> ThermalRange:
    """The range that scales all frames of an infrared video of more than 8 bits.

    `auto`, `minmax` and `percentile` are those of all frames together: the video is read once more for them.

    Args:
        footage: The infrared frames.
        wanted: What was asked for.

    Returns:
        Of a video of 8 bits, and of `type` and `fixed`, the same; else a `fixed` one.

    Raises:
        UserError: If frames hold floats, whose range would have to be known.
        UnreadableFileError: If a frame cannot be read.
    """
    if wanted.mode in ("type", "fixed"):
        return wanted
    frames = footage.frames()
    first = next(frames)
    if first.pixels.dtype == np.uint8:
        return wanted
    if first.pixels.dtype != np.uint16:
        raise UserError(f"'{printable(footage.path)}' holds floats: give --thermal_range fixed with --low and --high.")
    counts = np.zeros(np.iinfo(np.uint16).max + 1, dtype=np.int64)
    for frame in chain([first], frames):
        counts += np.bincount(frame.pixels.ravel(), minlength=counts.size)
    low, high = (0.0, 100.0) if wanted.mode == "minmax" else wanted.limits
    below = counts.cumsum()
    places = [int(np.searchsorted(below, share / 100 * (below[-1] - 1), side="right")) for share in (low, high)]
    return ThermalRange("fixed", places[0], max(places[1], places[0] + 1))
