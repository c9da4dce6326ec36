"""Registration: known transforms are found, strangers and what lies well are left, boxes and rigs."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.color import luma
from ivif.registration import (
    Registration,
    RegistrationSettings,
    RigError,
    common_transform,
    motion,
    move_boxes,
    register,
    stretch,
    warp,
)
from ivif.registration.geometry import Matrix, Plane, corner_distance

SIZE = (240, 320)
IDENTITY = np.eye(3)


@cache
def pair(index: int) -> tuple[Plane, Plane]:
    """A generated scene: infrared, and the visible luma."""
    sample = SyntheticDataset(4, SIZE, seed=3)[index]
    visible = luma(plane_to_float(sample["visible"])[None])[0, 0].numpy()
    return sample["infrared"][0].numpy(), (255 * visible).astype(np.uint8)


def similarity(degrees: float, scale: float, across: float, down: float) -> Matrix:
    """A turn and a scale about the middle, then a shift."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    x, y = (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2
    return np.array([[c, -s, x - c * x + s * y + across], [s, c, y - s * x - c * y + down], [0, 0, 1]])


@pytest.mark.parametrize("known", [similarity(2, 1.03, 7, -4), similarity(-3, 0.96, -8, 6)])
def test_a_known_transform_is_found(known: Matrix) -> None:
    infrared, visible = pair(0)
    moved = warp(infrared, np.linalg.inv(known), SIZE)
    found = register(moved, visible)
    assert found.refused == ""
    assert corner_distance(found.matrix, known, SIZE) < 1.5
    assert found.shift == pytest.approx(corner_distance(known, IDENTITY, SIZE), abs=1.5)
    assert found.after > found.before + 0.1
    back = warp(moved, found.matrix, SIZE)[40:-40, 40:-40].astype(float)
    assert np.abs(back - infrared[40:-40, 40:-40]).mean() < 5


def test_more_bits_and_another_size_change_nothing() -> None:
    infrared, visible = pair(0)
    known = similarity(2, 1.03, 7, -4)
    moved = warp(infrared, np.linalg.inv(known), SIZE)
    plain = register(moved, visible)
    deep = register((moved.astype(np.uint16) + 50) * 90, visible)
    assert corner_distance(deep.matrix, plain.matrix, SIZE) < 0.3
    smaller = warp(moved, stretch((192, 256), SIZE), (192, 256))
    found = register(smaller, visible)
    assert found.refused == ""
    assert corner_distance(np.linalg.inv(stretch(SIZE, (192, 256))) @ found.matrix, known, SIZE) < 2.5


def test_a_pair_that_lies_well_stays_and_so_does_one_of_strangers() -> None:
    infrared, visible = pair(0)
    well = register(infrared, visible)
    assert well.refused.startswith("it lies well as it is")
    assert np.array_equal(well.matrix, IDENTITY)
    strangers = [register(pair(index)[0], pair(other)[1]) for index, other in ((0, 1), (1, 2), (3, 0))]
    assert all(found.refused for found in strangers)
    flat = register(np.zeros(SIZE, np.uint8), visible)
    assert flat.refused


def test_a_pair_is_not_believed_beyond_its_settings() -> None:
    infrared, visible = pair(0)
    moved = warp(infrared, np.linalg.inv(similarity(2, 1.03, 7, -4)), SIZE)
    assert "hardly better" in register(moved, visible, RegistrationSettings(rivals=50.0)).refused
    assert "disagree" in register(moved, visible, RegistrationSettings(halves=0.0)).refused
    assert "lies well" in register(moved, visible, RegistrationSettings(gain=50.0)).refused


def test_a_homography_is_followed_closer_with_its_model() -> None:
    infrared, visible = pair(0)
    known = np.array([[1, 0, 0], [0, 1, 0], [2e-4, 0, 1]]) @ similarity(1, 1, 4, 2)
    moved = warp(infrared, np.linalg.inv(known), SIZE)
    errors = {
        model: corner_distance(register(moved, visible, RegistrationSettings(model)).matrix, known, SIZE)
        for model in ("similarity", "homography")
    }
    assert errors["homography"] < errors["similarity"] / 2


def test_boxes_move_with_their_picture_and_leave_at_its_edge() -> None:
    boxes = np.array([[10.0, 20, 30, 40], [0, 0, 6, 6]])
    to_infrared = np.array([[1, 0, 8.0], [0, 1, 8], [0, 0, 1]])  # what lies at (8, 8) there lies at (0, 0) here
    moved, inside = move_boxes(boxes, np.linalg.inv(to_infrared), SIZE)
    assert moved[0].tolist() == [2, 12, 22, 32]
    assert inside.tolist() == [True, False]
    turned, _ = move_boxes(boxes[:1], np.linalg.inv(stretch((120, 160), SIZE)), (120, 160))
    assert turned[0].tolist() == [5, 10, 15, 20]


def test_a_motion_is_what_the_transform_does_about_the_middle() -> None:
    found = motion(similarity(2, 1.03, 7, -4), SIZE)
    assert (found.across, found.down, found.degrees, found.scale) == pytest.approx((7, -4, 2, 1.03))
    corner = np.array([[1, 0, 0], [0, 1, 0], [2e-4, 0, 1]])
    assert motion(corner, SIZE).across == pytest.approx(159.5 / (1 + 159.5 * 2e-4) - 159.5)


def _found(matrix: Matrix) -> Registration:
    return Registration(matrix, "", 5.0, 0.2, 0.5, 0.1, 0.2)


def test_a_rig_takes_the_median_and_no_two_rigs() -> None:
    known = similarity(1, 1.02, 5, 3)
    near = [similarity(1 + 0.01 * step, 1.02, 5, 3) for step in (-2, -1, 0, 1, 2)]
    wild = [similarity(-4, 0.9, -20, 10), similarity(4, 1.1, 20, 10)]
    found = [_found(matrix) for matrix in (*near, *wild)]
    assert corner_distance(common_transform(found, SIZE), known, SIZE) < 0.2
    with pytest.raises(RigError, match="4 of 5 pairs"):
        common_transform([replace(found[0], refused="no"), *found[1:5]], SIZE)
    two = [_found(similarity(degrees, 1, 0, 0)) for degrees in (-6, -6, -6, 6, 6, 6)]
    with pytest.raises(RigError, match="not of one rig"):
        common_transform(two, SIZE)
