"""Transforms of a video's frames without the jitter of single estimates."""

from collections import deque
from typing import Final

import cv2
import numpy as np

from ivif.registration.estimate import Registration
from ivif.registration.geometry import Matrix, Size, apply, corners, stretch

SECONDS: Final = 1.0
"""Of the past whose estimates count: as many as 25 hold each other against noise."""


class SmoothedTransforms:
    """A transform for each frame of two videos whose cameras move against each other.

    Each corner of the picture goes where the median of the last second's estimates puts it, and on its way there by
    an exponential average over half of that time. Estimates that the gate refused do not count, so that what was
    last believed stays; a pair that lies well counts as one that is not moved. A few wild estimates change nothing,
    and a new view is followed when it has been seen for half the time.

    Args:
        infrared: (height, width) of the infrared frames.
        visible: The same of the visible ones.
        seconds: How much of the past counts.
    """

    def __init__(self, infrared: Size, visible: Size, seconds: float = SECONDS) -> None:
        self._corners = corners(visible)
        self._plain = apply(stretch(visible, infrared), self._corners)
        self._seconds = seconds
        self._past: deque[tuple[float, Matrix]] = deque()
        self._shown: tuple[float, Matrix] | None = None
        self.believed = 0

    def __call__(self, time: float, found: Registration) -> Matrix:
        """The transform of the frame at a time, from pixels of the visible to those of the infrared picture.

        Args:
            time: In seconds; not before that of the last call.
            found: What was estimated of this frame alone.
        """
        if not found.refused or found.lies_well:
            self._past.append((time, apply(found.matrix, self._corners)))
            self.believed += not found.refused
        while len(self._past) > 1 and self._past[0][0] < time - self._seconds:
            self._past.popleft()
        if not self._past:
            places = self._plain
        else:
            places = self._followed(time, np.median([place for _, place in self._past], axis=0))
        return np.asarray(cv2.getPerspectiveTransform(self._corners.astype(np.float32), places.astype(np.float32)))

    def _followed(self, time: float, wanted: Matrix) -> Matrix:
        if self._shown is not None:
            keep = float(np.exp((self._shown[0] - time) / (self._seconds / 2)))
            wanted = keep * self._shown[1] + (1 - keep) * wanted
        self._shown = (time, wanted)
        return wanted
