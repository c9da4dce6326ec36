"""One transform of a rig: two cameras that are screwed together see every pair alike."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from ivif.files.errors import UserError
from ivif.registration.estimate import Registration
from ivif.registration.geometry import Matrix, Size, apply, corners

LEAST_PAIRS: Final = 5
_MOST_SPREAD: Final = 0.02


class RigError(UserError):
    """Pairs do not tell one transform; the message says why."""


def common_transform(found: Sequence[Registration], size: Size) -> Matrix:
    """The transform that puts each corner where the median of the estimates puts it.

    Args:
        found: Estimates of several pairs; those that were refused do not count.
        size: (height, width) of all visible pictures.

    Raises:
        RigError: If fewer than five estimates count, or half of them lie farther than 2 % of the diagonal from the
            median.
    """
    believed = [apply(one.matrix, corners(size)) for one in found if not one.refused]
    if len(believed) < LEAST_PAIRS:
        raise RigError(
            f"{len(believed)} of {len(found)} pairs tell a transform, and a rig takes {LEAST_PAIRS}: give more "
            f"pairs, or register each for itself."
        )
    places = np.median(believed, axis=0)
    apart = np.median([np.linalg.norm(one - places, axis=1).mean() for one in believed])
    diagonal = float(np.linalg.norm(places[2] - places[0]))
    if apart > _MOST_SPREAD * diagonal:
        raise RigError(
            f"The pairs tell different transforms ({apart:.0f} pixels apart in the median), so they are not of one "
            f"rig: register each for itself."
        )
    return np.asarray(cv2.getPerspectiveTransform(corners(size).astype(np.float32), places.astype(np.float32)))
