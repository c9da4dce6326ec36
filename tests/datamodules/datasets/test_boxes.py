import pytest
import torch

from ivif.contracts.batch import Targets, empty_targets
from ivif.datamodules.datasets.boxes import BoxRule, flip_horizontal, flip_vertical, rotate_90, scale, shift_and_clip


def targets(*boxes: tuple[float, float, float, float]) -> Targets:
    return {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.arange(len(boxes))}


def test_clipping_keeps_the_visible_fraction() -> None:
    window = shift_and_clip(targets((10, 10, 30, 30), (0, 0, 11, 40), (60, 60, 70, 70)), 10, 20, (20, 15), BoxRule(0.3))
    assert window["boxes"].tolist() == [[0, 0, 15, 10]]
    assert window["labels"].tolist() == [0]
    assert shift_and_clip(targets((10, 10, 30, 30)), 10, 20, (20, 15), BoxRule(0.4))["boxes"].shape == (0, 4)


def test_padding_shifts_boxes_inwards() -> None:
    assert shift_and_clip(targets((1, 2, 9, 8)), -5, -3, (30, 30), BoxRule())["boxes"].tolist() == [[6, 5, 14, 11]]


def test_small_boxes_are_dropped() -> None:
    kept = scale(targets((0, 0, 8, 8), (0, 0, 8, 3)), 0.5, 0.5, BoxRule(minimum_side=2))
    assert kept["boxes"].tolist() == [[0, 0, 4, 4]]
    assert kept["labels"].tolist() == [0]
    assert scale(targets((5, 5, 5, 9)), 1, 1, BoxRule(minimum_side=0))["boxes"].shape == (0, 4)


def test_flips_and_rotation_by_hand() -> None:
    box = targets((1, 2, 4, 8))
    assert flip_horizontal(box, 10)["boxes"].tolist() == [[6, 2, 9, 8]]
    assert flip_vertical(box, 20)["boxes"].tolist() == [[1, 12, 4, 18]]
    assert rotate_90(box, (20, 10), 1)["boxes"].tolist() == [[2, 6, 8, 9]]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotations_undo_each_other(turns: int) -> None:
    size = (20, 10) if turns % 2 == 0 else (10, 20)
    back = rotate_90(rotate_90(targets((1, 2, 4, 8)), (20, 10), turns), size, 4 - turns)
    assert back["boxes"].tolist() == [[1, 2, 4, 8]]


def test_no_objects_stay_no_objects() -> None:
    none = empty_targets()
    for moved in (
        shift_and_clip(none, 1, 2, (5, 5), BoxRule()),
        scale(none, 2, 2, BoxRule()),
        flip_horizontal(none, 5),
        rotate_90(none, (5, 5), 1),
    ):
        assert moved["boxes"].shape == (0, 4)
        assert moved["labels"].dtype == torch.int64


def test_ignored_regions_move_with_the_objects_and_keep_what_is_left_of_them() -> None:
    region: Targets = {**targets((10, 10, 30, 30)), "ignored": targets((0, 0, 14, 40), (60, 60, 70, 70))}
    window = shift_and_clip(region, 10, 20, (20, 15), BoxRule(0.3))
    assert window["boxes"].tolist() == [[0, 0, 15, 10]]
    assert window["ignored"]["boxes"].tolist() == [[0, 0, 4, 20]]  # a seventh of it
    assert window["ignored"]["labels"].tolist() == [0]
    alone: Targets = {**empty_targets(), "ignored": targets((2, 4, 10, 8))}
    assert shift_and_clip(alone, 1, 1, (20, 20), BoxRule())["ignored"]["boxes"].tolist() == [[1, 3, 9, 7]]
    assert scale(alone, 2, 0.5, BoxRule())["ignored"]["boxes"].tolist() == [[4, 2, 20, 4]]
    assert flip_horizontal(alone, 20)["ignored"]["boxes"].tolist() == [[10, 4, 18, 8]]
    assert flip_vertical(alone, 20)["ignored"]["boxes"].tolist() == [[2, 12, 10, 16]]
    assert rotate_90(alone, (20, 20), 2)["ignored"]["boxes"].tolist() == [[10, 12, 18, 16]]
    assert "ignored" not in flip_horizontal(targets((1, 1, 2, 2)), 5)
