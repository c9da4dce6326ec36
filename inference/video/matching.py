"""Which infrared frame belongs to which visible one: the nearest in time."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UserError
from ivif.files.names import printable
from ivif.inference.video.footage import Footage

_ROUNDING: Final = 1e-3
"""Seconds to which containers round times."""


class FramePair(NamedTuple):
    """What is fused into one frame.

    Attributes:
        time: Of the visible frame, in seconds.
        infrared: Pixels of the infrared frame that is nearest in time.
        visible: Pixels of the visible frame.
    """

    time: float
    infrared: Pixels
    visible: Pixels


class NoCommonTimeError(UserError):
    """Two videos of which one ends before the other begins."""

    def __init__(self, infrared: Footage, visible: Footage) -> None:
        """Builds the message from what the files say of their times."""
        what = [
            f"'{printable(one.path)}' begins at {one.start:.2f} s"
            + ("" if one.end is None else f" and ends at {one.end:.2f} s")
            for one in (infrared, visible)
        ]
        apart = visible.start - infrared.start
        super().__init__(
            f"{what[0]}, {what[1]}: they have no common time. If both began at once, add --infrared_delay {apart:.2f}."
        )


def paired(infrared: Footage, visible: Footage, delay: float = 0.0) -> Iterator[FramePair]:
    """Each visible frame with the infrared frame nearest in time, as long as both videos last.

    At most two infrared frames are held. A frame lasts until the next one is due: visible frames up to one infrared
    frame's length before the first, or after the last infrared frame have it as a partner, others are left out.

    Args:
        infrared: The infrared frames.
        visible: The visible frames.
        delay: Seconds that the infrared clock is behind: they are added to its times.

    Raises:
        NoCommonTimeError: If there is no pair.
        UnreadableFileError: If a frame cannot be read.
    """
    found = False
    for pair in _matches(infrared, visible, delay):
        found = True
        yield pair
    if not found:
        raise NoCommonTimeError(infrared, visible)


def check_common_time(infrared: Footage, visible: Footage, delay: float) -> None:
    """Refuses, by the headers alone, what `paired` would refuse after decoding everything.

    Raises:
        NoCommonTimeError: If one video ends before the other begins.
    """
    late = infrared.end is not None and infrared.end + delay < visible.start
    early = visible.end is not None and visible.end < infrared.start + delay - 1 / infrared.rate
    if late or early:
        raise NoCommonTimeError(infrared, visible)


def _matches(infrared: Footage, visible: Footage, delay: float) -> Iterator[FramePair]:
    series, lasting = infrared.frames(), float(1 / infrared.rate) + _ROUNDING
    current, following = next(series, None), next(series, None)
    if current is None:
        return
    for frame in visible.frames():
        time = frame.time - delay
        while following is not None and abs(following.time - time) <= abs(current.time - time):
            current, following = following, next(series, None)
        if following is None and time - current.time > lasting:
            return
        if current.time - time <= lasting:
            yield FramePair(frame.time, current.pixels, frame.pixels)
