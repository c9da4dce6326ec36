import pytest
import torch

from ivif.contracts.batch import Targets, empty_targets
from ivif.datamodules.datasets.descriptions import describe, time_of_day

SIZE = (100, 300)


def _targets(*objects: tuple[int, float, float]) -> Targets:
    """Boxes 10 wide from (label, centre column, height)."""
    boxes = [[x - 5, 0.0, x + 5, height] for _, x, height in objects]
    return {"boxes": torch.tensor(boxes), "labels": torch.tensor([label for label, _, _ in objects])}


def test_counts_plurals_places_and_distances() -> None:
    classes = ("People", "Bus", "Motorcycle")
    targets = _targets((0, 20, 25), (0, 30, 25), (1, 150, 15), (2, 280, 5), (2, 290, 5), (2, 299, 5))
    assert describe("day", targets, classes, SIZE) == (
        "A daytime scene with two people near on the left, one bus in the centre and three motorcycles "
        "far on the right."
    )


def test_one_object_and_none() -> None:
    assert describe("dusk", _targets((0, 150, 30)), ("person",), SIZE) == (
        "A scene at dusk with one person near in the centre."
    )
    assert describe("night", empty_targets(), ("person",), SIZE) == "A scene at night with no objects."
    assert describe("fog", None, (), SIZE, place="street") == "A foggy street."


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("bus", "buses"),
        ("lorry", "lorries"),
        ("tray", "trays"),
        ("traffic_light", "traffic lights"),
        ("person", "people"),
        ("Pedestrians", "pedestrians"),
        ("cars", "cars"),
    ],
)
def test_plurals(name: str, plural: str) -> None:
    assert f"two {plural} in" in describe("day", _targets((0, 150, 15), (0, 151, 15)), (name,), SIZE)


def test_borders_of_left_centre_right_near_and_far() -> None:
    for column, place in ((99, "left"), (101, "centre"), (199, "centre"), (201, "right")):
        assert place in describe("day", _targets((0, column, 15)), ("car",), SIZE)
    for height, distance in ((20, "car near"), (19, "car in"), (8, "car in"), (7, "car far")):
        assert distance in describe("day", _targets((0, 150, height)), ("car",), SIZE)


def test_crowds_are_summed_up_and_large_numbers_are_digits() -> None:
    many = _targets(*[(label, x, 15) for label in range(3) for x in (20, 150, 280)])
    sentence = describe("day", many, ("car", "bus", "lamp"), SIZE)
    assert sentence.endswith("and three other objects.")
    assert sentence.count("one ") == 6
    assert "13 cars" in describe("day", _targets(*[(0, 150, 15)] * 13), ("car",), SIZE)


def test_time_of_day_from_luma() -> None:
    for level, time in ((20, "night"), (70, "dusk"), (120, "day")):
        assert time_of_day(torch.full((3, 9, 9), level, dtype=torch.uint8)) == time
        assert time_of_day(torch.full((3, 9, 9), level / 255)) == time
    green = torch.zeros(3, 8, 8)
    green[1] = 0.5
    assert time_of_day(green) == "dusk"


def test_unknown_time() -> None:
    with pytest.raises(ValueError, match="No time of day 'noon'"):
        describe("noon", None, (), SIZE)
