"""The local step: known bends are undone, pairs that lie well are left, points go there and back."""

from collections.abc import Sequence

import numpy as np
import pytest

from ivif.registration import Bend, bend, local, move_boxes, warp, warp_bent
from ivif.registration.features import View
from ivif.registration.geometry import Matrix, Size
from ivif.registration.local import fit
from tests.registration.test_registration import IDENTITY, SIZE, pair, similarity

ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
POINTS = np.stack([COLUMNS, ROWS], -1).reshape(-1, 2)


def bulge(most: float = 5.0) -> Bend:
    """A bend of so many pixels at most, to the right and upwards in the middle, nothing at the border."""
    grid = np.zeros((2, 7, 7))
    grid[0, 3, 3], grid[1, 3, 3] = 1, -0.5
    return Bend(grid * most / Bend(grid, SIZE).everywhere(SIZE).max(), SIZE)


def bent(picture: np.ndarray, change: Bend) -> np.ndarray:
    """A picture in which the content of (x, y) lies where the bend displaces it to."""
    back = (change.undone(POINTS) - POINTS).T.reshape(2, *SIZE)
    return warp_bent(picture, IDENTITY, back)


def distance(found: Matrix, truth: Matrix) -> float:
    return float(np.hypot(*(found - truth)).mean())


def test_a_spline_is_its_control_points_there_and_everywhere() -> None:
    change = bulge()
    everywhere = change.everywhere(SIZE)
    assert everywhere[0].max() == pytest.approx(5)
    assert np.unravel_index(everywhere[0].argmax(), SIZE) in (
        (119, 159),
        (119, 160),
        (120, 159),
        (120, 160),
    )  # of an even size
    assert np.abs(everywhere[:, [0, -1]]).max() < 1e-9
    assert change.at(POINTS).T.reshape(2, *SIZE) == pytest.approx(everywhere)
    assert Bend(np.ones((2, 9, 11)), SIZE).everywhere((3, 5)) == pytest.approx(np.ones((2, 3, 5)))
    assert change.at(change.undone(POINTS)) + change.undone(POINTS) == pytest.approx(POINTS, abs=1e-6)


def test_a_known_bend_is_undone_and_kept() -> None:
    infrared, visible = pair(0)
    drawn = Bend(np.random.default_rng(2).uniform(-1, 1, (2, 6, 7)), SIZE)
    change = Bend(drawn.grid * 6 / np.abs(drawn.everywhere(SIZE)).max(), SIZE)
    found = bend(bent(infrared, change), visible, IDENTITY)
    assert found.refused == ""
    assert found.bend is not None
    assert found.gain > 0.05
    truth = change.everywhere(SIZE)
    assert distance(found.bend.everywhere(SIZE), truth) < 0.5 * distance(0 * truth, truth)


def test_a_bend_is_judged_by_blocks_that_it_was_not_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    infrared, visible = pair(0)
    made_of: dict[int, np.ndarray] = {}
    shared: list[float] = []
    of_levels, gain = local._of_levels, local._gain

    def note(levels: Sequence[tuple[View, View]], matrix: Matrix, size: Size) -> Bend:
        found = of_levels(levels, matrix, size)
        made_of[id(found)] = levels[-1][0].seen
        kept.append(found)
        return found

    def judge(level: tuple[View, View], matrix: Matrix, found: Bend, held_out: np.ndarray) -> float:
        assert (held_out * level[0].seen).sum() > 0.4 * level[0].seen.sum()
        shared.append(float((held_out * made_of[id(found)]).sum()))
        return gain(level, matrix, found, held_out)

    kept: list[Bend] = []  # so that no other bend gets one's id
    monkeypatch.setattr(local, "_of_levels", note)
    monkeypatch.setattr(local, "_gain", judge)
    bend(infrared, visible, IDENTITY)
    assert shared == [0, 0]


def test_a_bend_is_found_beside_a_transform() -> None:
    infrared, visible = pair(0)
    known, change = similarity(2, 1.03, 7, -4), bulge(6)
    moved = warp(bent(infrared, change), np.linalg.inv(known), SIZE)
    found = fit(moved, visible, known).everywhere(SIZE)
    there, truth = np.s_[:, 80:160, 110:210], change.everywhere(SIZE)
    assert distance(found[there], truth[there]) < 1.5


def test_what_lies_well_stays_and_so_does_a_flat_picture() -> None:
    infrared, visible = pair(0)
    well = bend(infrared, visible, IDENTITY)
    assert well.bend is None
    assert "edges of blocks that were held out would agree little better" in well.refused
    assert bend(np.zeros(SIZE, np.uint8), visible, IDENTITY).bend is None


def test_what_folds_or_is_large_is_no_bend() -> None:
    assert bulge(5).is_mild()
    assert not bulge(13).is_mild()  # more than 3 % of the diagonal
    random = np.random.default_rng(0)
    assert not Bend(random.uniform(-9, 9, (2, 63, 83)), SIZE).is_mild()


def test_pictures_and_boxes_are_bent_alike() -> None:
    change = bulge(6)
    infrared = np.zeros(SIZE, np.uint16)
    infrared[100:130, 140:170] = 9000
    warped = warp_bent(infrared, IDENTITY, change.everywhere(SIZE))
    rows, columns = np.nonzero(warped > 4500)
    boxes, inside = move_boxes(np.array([[140.0, 100, 170, 130]]), IDENTITY, SIZE, change.undone)
    assert inside.all()
    assert warped.dtype == np.uint16
    assert boxes[0] == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], abs=1.1)
    assert boxes[0, 0] < 137
    assert np.array_equal(warp_bent(infrared, IDENTITY, np.zeros((2, *SIZE))), infrared)


def test_a_tall_picture_is_warped_in_strips_as_in_one() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (600, 40), dtype=np.uint8)
    shift = np.array([[1, 0, 3.0], [0, 1, -2], [0, 0, 1]])
    assert np.array_equal(warp_bent(picture, shift, np.zeros((2, 600, 40))), warp(picture, shift, (600, 40)))
