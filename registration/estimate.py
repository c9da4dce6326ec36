"""One pair: the transform, and whether it deserves belief."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ivif.registration.features import View, view
from ivif.registration.geometry import Matrix, Plane, Size, corner_distance, stretch
from ivif.registration.refine import Model, refine
from ivif.registration.search import agreement, search

_LONG_SIDE: Final = 640
_COARSE, _FINE = 4, 2
_BLOCKS: Final = 4

_DEGREES: Final = (-4, -2, 0, 2, 4)
_SCALES: Final = (0.92, 0.96, 1, 1.04, 1.08)
_REACH: Final = 0.07
_WIDE_SCALES: Final = (0.75, 0.79, 0.83, 0.87, 0.91, 0.96, 1, 1.05, 1.1, 1.16, 1.22, 1.28)
_WIDE_REACH: Final = 0.14
"""Two sizes are two fields of view."""


@dataclass(frozen=True)
class RegistrationSettings:
    """What a transform may be, and what it takes to be believed.

    Args:
        model: similarity (shift, turn, scale), affine, or homography: more freedom follows lens and noise closer.
        halves: By how many percent of the diagonal the estimates from two halves of the picture may differ.
        gain: By what share of itself the agreement of edges must grow.
        rivals: By what factor it must exceed that with copies turned over, which stand for pictures of something else.
    """

    model: Model = "similarity"
    halves: float = 1.5
    gain: float = 0.1
    rivals: float = 1.1


DEFAULT_SETTINGS: Final = RegistrationSettings()

_LIES_WELL: Final = "it lies well as it is"
_MOST_SHIFT: Final = 0.25
_MOST_SHEAR: Final = 1.1


@dataclass(frozen=True)
class Registration:
    """What was found for one pair.

    Args:
        matrix: (3, 3), from pixels of the visible picture to the infrared one's; a plain stretch where `refused`.
        refused: Why the pair stays as it is; empty where it is to be warped.
        shift: By how far the estimate moves corners, mean of four, in pixels of the visible picture.
        before: Agreement of edges as the pair is, in [-1, 1].
        after: The same under the estimate.
        rivals: Best agreement with turned-over copies of the infrared picture.
        halves: How far the estimates from two halves of the picture are apart, in percent of the diagonal.
        estimate: What was found, believed or not; None if nothing was.
    """

    matrix: Matrix
    refused: str
    shift: float
    before: float
    after: float
    rivals: float
    halves: float
    estimate: Matrix | None = None

    @property
    def lies_well(self) -> bool:
        """Whether the estimate holds, and moving by it would bring little."""
        return self.refused.startswith(_LIES_WELL)


def register(infrared: Plane, visible: Plane, settings: RegistrationSettings = DEFAULT_SETTINGS) -> Registration:
    """Estimates where each pixel of a visible picture lies in the infrared one.

    Args:
        infrared: (H, W), of any range.
        visible: (H, W), of any size; of another size than the infrared one's, another field of view is looked for too.
        settings: What is believed.
    """
    infrared_size, size = infrared.shape, visible.shape
    wide = infrared_size != size
    levels = levels_of(infrared, visible)
    plain = stretch((size[0], size[1]), (infrared_size[0], infrared_size[1]))
    score, found = _estimate(levels, settings.model, wide)
    if found is None:
        return Registration(plain, "no transform was found", 0.0, 0.0, 0.0, 0.0, 100.0)
    relative = np.linalg.inv(plain) @ found
    result = Registration(
        found,
        "",
        corner_distance(relative, np.eye(3), (size[0], size[1])),
        agreement(*levels[-1], of_level(levels[-1], plain)),
        agreement(*levels[-1], of_level(levels[-1], found)),
        _rivals(levels[0], wide),
        _apart(levels, plain, wide, (size[0], size[1])),
        found,
    )
    reason = _doubt(result, score, float(np.hypot(*size)), settings)
    return replace(result, matrix=plain, refused=reason) if reason else result


def levels_of(infrared: Plane, visible: Plane) -> list[tuple[View, View]]:
    """Both pictures (visible, infrared) in two sizes, the smaller first."""
    return [_level(infrared, visible, shrink) for shrink in (_COARSE, _FINE)]


def _level(infrared: Plane, visible: Plane, shrink: float) -> tuple[View, View]:
    """Both pictures (visible, infrared), shrunk by about so much from a common size of 640 pixels."""
    scale = min(1.0, _LONG_SIDE / shrink / max(visible.shape))
    same = scale * float(np.sqrt(visible.size / infrared.size))
    return _view(visible, scale), _view(infrared, min(1.0, same))


def _view(picture: Plane, scale: float) -> View:
    return view(picture, (max(8, round(picture.shape[0] * scale)), max(8, round(picture.shape[1] * scale))))


def _estimate(levels: Sequence[tuple[View, View]], model: Model, wide: bool) -> tuple[float, Matrix | None]:
    """The agreement of the best guess, and the transform between whole pictures that became of it."""
    scales, reach = (_WIDE_SCALES, _WIDE_REACH) if wide else (_SCALES, _REACH)
    score, guess = search(*levels[0], _DEGREES, scales, reach)
    matrix = _of_whole(levels[0], guess)
    steps: list[tuple[tuple[View, View], Model]] = [(level, "similarity") for level in levels]
    if model != "similarity":
        steps.append((levels[-1], model))
    for level, freedom in steps:
        refined = refine(*level, of_level(level, matrix), freedom)
        if refined is None:
            return score, None
        matrix = _of_whole(level, refined)
    return score, matrix


def of_level(level: tuple[View, View], matrix: Matrix) -> Matrix:
    """A transform between whole pictures as one between their pixels at a level."""
    fixed, moving = level
    return np.asarray(moving.scale @ matrix @ np.linalg.inv(fixed.scale))


def _of_whole(level: tuple[View, View], matrix: Matrix) -> Matrix:
    fixed, moving = level
    whole = np.linalg.inv(moving.scale) @ matrix @ fixed.scale
    return np.asarray(whole / whole[2, 2])


def _apart(levels: Sequence[tuple[View, View]], plain: Matrix, wide: bool, size: Size) -> float:
    """How far two estimates are apart, in percent of the diagonal: each sees every other block of a chessboard."""
    found = []
    for parity in (0, 1):
        half = [(replace(fixed, seen=fixed.seen * _chessboard(fixed.size, parity)), moving) for fixed, moving in levels]
        matrix = _estimate(half, "similarity", wide)[1]
        if matrix is None:
            return 100.0
        found.append(np.linalg.inv(plain) @ matrix)
    return min(100.0, 100 * corner_distance(found[0], found[1], size) / float(np.hypot(*size)))


def _chessboard(size: Size, parity: int) -> Plane:
    rows, columns = np.mgrid[: size[0], : size[1]]
    blocks = rows * _BLOCKS // size[0] + columns * _BLOCKS // size[1]
    return np.asarray(blocks % 2 == parity, dtype=np.float32)


def _rivals(level: tuple[View, View], wide: bool) -> float:
    """Best agreement with the infrared picture turned over: as many edges, but none that belongs to the visible one."""
    fixed, moving = level
    upright = np.roll(moving.edges[::-1], 1, 0)  # mirrored, an edge leans the other way
    turned = (
        View(upright[:, ::-1], moving.seen[::-1], moving.scale),
        View(upright[:, :, ::-1], moving.seen[:, ::-1], moving.scale),
        View(moving.edges[:, ::-1, ::-1], moving.seen[::-1, ::-1], moving.scale),
    )
    scales, reach = (_WIDE_SCALES[::3], _WIDE_REACH) if wide else (_SCALES[1::2], _REACH)
    return max(search(fixed, _whole(rival), _DEGREES[::2], scales, reach)[0] for rival in turned)


def _whole(rival: View) -> View:
    """The same in memory of its own, as OpenCV wants it."""
    return View(np.ascontiguousarray(rival.edges), np.ascontiguousarray(rival.seen), rival.scale)


def _doubt(found: Registration, score: float, diagonal: float, settings: RegistrationSettings) -> str:
    """Why a transform is not believed; empty if it is."""
    stretches = np.linalg.svd(found.matrix[:2, :2], compute_uv=False)
    if found.shift > _MOST_SHIFT * diagonal or stretches[0] > _MOST_SHEAR * stretches[1]:
        return f"a shift of {found.shift:.0f} pixels, or its shear, is not plausible"
    if found.halves > settings.halves:
        return f"two halves of the picture disagree by {found.halves:.1f} % of the diagonal"
    if score < settings.rivals * found.rivals:
        return f"edges agree ({score:.2f}) hardly better than with a picture turned over ({found.rivals:.2f})"
    if found.after < found.before + settings.gain * abs(found.before):
        return f"{_LIES_WELL}: edges would agree little better ({found.before:.2f} to {found.after:.2f})"
    return ""
