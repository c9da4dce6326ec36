"""`fuse --register` of videos: one transform for two cameras that are screwed together, or one that follows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ivif.inference.video import Footage
from ivif.inference.video.matching import FramePair, paired
from ivif.registration import Registration, RigError, SmoothedTransforms, common_transform, register, warp
from ivif.registration.geometry import Matrix, Plane
from ivif.registration.rig import LEAST_PAIRS

Mode = Literal["auto", "each"]

SAMPLES: Final = 30
"""Pairs of frames that tell a rig's transform."""


class RegisteredPairs(Protocol):
    """What brings infrared onto the visible frame, pair by pair in the order of time."""

    def __call__(self, pair: FramePair) -> FramePair:
        """The pair, with infrared warped where that is believed."""

    def told(self) -> str:
        """What is to be said when all pairs have been seen; empty: nothing."""


def registering(mode: Mode, infrared: Footage, visible: Footage, delay: float) -> RegisteredPairs:
    """What is done with each pair of frames before it is fused; says what is known before.

    Args:
        mode: `auto`: one transform, of frames spread over the whole clip, for which both videos are read once more;
            `each`: one of each frame, smoothed over time.
        infrared: The infrared frames.
        visible: The visible frames.
        delay: Seconds that are added to the times of the infrared frames.

    Raises:
        UserError: If a video cannot be read, or both have no common time.
    """
    if mode == "each":
        return EachFrame(infrared, visible)
    rig = rig_of(infrared, visible, delay)
    print(f"{'Not registered' if rig.matrix is None else 'Registered'}: {rig.reason}")
    return rig


class EachFrame:
    """A transform that follows what the frames tell."""

    def __init__(self, infrared: Footage, visible: Footage) -> None:
        self._transforms = SmoothedTransforms(infrared.size, visible.size)
        self._frames = 0

    def __call__(self, pair: FramePair) -> FramePair:
        """See `RegisteredPairs`."""
        found = register(pair.infrared, grey(pair.visible))
        self._frames += 1
        return _warped(pair, self._transforms(pair.time, found))

    def told(self) -> str:
        """See `RegisteredPairs`."""
        believed = self._transforms.believed
        return (
            f"{'Registered' if believed else 'Not registered'}: {believed} of {self._frames} frames told a transform."
        )


@dataclass(frozen=True)
class Rig:
    """One transform for all frames.

    Args:
        matrix: From pixels of the visible to those of the infrared picture; None: frames stay as they are.
        reason: What it was made of, or why there is none.
    """

    matrix: Matrix | None
    reason: str

    def __call__(self, pair: FramePair) -> FramePair:
        """See `RegisteredPairs`."""
        return pair if self.matrix is None else _warped(pair, self.matrix)

    def told(self) -> str:
        """See `RegisteredPairs`."""
        return ""


def rig_of(infrared: Footage, visible: Footage, delay: float) -> Rig:
    """The transform of two cameras that are screwed together, from frames spread over the clip."""
    found: list[Registration] = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("registering", total=SAMPLES)
        for pair in spread_pairs(infrared, visible, delay):
            found.append(register(pair.infrared, grey(pair.visible)))
            bar.advance(task)
    if 2 * sum(one.lies_well for one in found) > len(found):
        return Rig(None, "the videos lie well as they are.")
    try:
        matrix = common_transform(found, visible.size)
    except RigError:
        return Rig(None, _doubt(found))
    believed = [one.shift for one in found if not one.refused]
    counts = f"{len(believed)} of {len(found)} pairs of frames"
    return Rig(
        matrix, f"one transform from {counts}; infrared moved by {np.median(believed):.1f} pixels at the corners."
    )


def _doubt(found: Sequence[Registration]) -> str:
    """Why frames tell no common transform."""
    believed = sum(not one.refused for one in found)
    told = f"{believed} of {len(found)} pairs of frames told a transform"
    if believed >= LEAST_PAIRS:
        return f"{told}, and not one and the same. If the cameras move against each other, give --register each."
    return f"{told}, and {LEAST_PAIRS} are needed. If they lie well, leave it out; else give a longer clip."


def spread_pairs(infrared: Footage, visible: Footage, delay: float, count: int = SAMPLES) -> Iterator[FramePair]:
    """At most so many pairs, spread over the time that both videos have; one in memory at a time.

    Where a video does not say when it ends, one of each second from the beginning on.
    """
    first = max(visible.start, infrared.start + delay)
    if infrared.end is None or visible.end is None:
        times = first + np.arange(count, dtype=float)
    else:
        last = min(visible.end, infrared.end + delay)
        times = first + (np.arange(count) + 0.5) * (last - first) / count
    taken = 0
    for pair in paired(infrared, visible, delay):
        due = int(np.searchsorted(times, pair.time + 1 / float(visible.rate), side="left"))
        if due > taken:
            taken = due
            yield pair
        if taken == count:
            return


def grey(visible: Plane) -> Plane:
    """A visible frame (H, W)."""
    return visible if visible.ndim == 2 else np.asarray(visible.mean(2))


def _warped(pair: FramePair, matrix: Matrix) -> FramePair:
    return pair._replace(infrared=warp(pair.infrared, matrix, (pair.visible.shape[0], pair.visible.shape[1])))
