"""Four pairs in one frame."""

from typing import Any, cast

import pytest
import torch
from torch import Generator

from ivif.contracts.batch import SPATIAL_KEYS, Sample
from ivif.datamodules.datasets.boxes import BoxRule
from ivif.datamodules.datasets.mosaic import Mosaic

SIZE = (40, 56)


def _pair(number: int) -> Sample:
    """A pair of one grey level, with a brighter blob in a box."""
    generator = torch.Generator().manual_seed(number)
    top, left = (int(torch.randint(2, 20, (), generator=generator)) for _ in range(2))
    plane = torch.full((1, *SIZE), 10 * number + 10, dtype=torch.uint8)
    plane[:, top : top + 14, left : left + 18] += 100
    return {
        "infrared": plane,
        "visible": plane.expand(3, *SIZE),
        "name": str(number),
        "dataset": "d",
        "content_id": f"id{number}",
        "targets": {"boxes": torch.tensor([[left, top, left + 18.0, top + 14.0]]), "labels": torch.tensor([number])},
        "prompt": f"prompt {number}",
        "mask": (plane > 100).to(torch.uint8) * 255,
        "saliency": plane.expand(2, *SIZE).float() / 255,
        "previous": plane,
        "fused": plane.expand(3, *SIZE),
    }


def _seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(12))
def test_four_parts_tile_the_frame_and_every_plane_agrees(seed: int) -> None:
    joined = Mosaic(1.0).join([_pair(number) for number in range(4)], _seeded(seed))
    infrared = joined["infrared"]
    assert infrared.shape == (1, *SIZE)
    level = infrared.remainder(100) // 10 - 1  # which pair a pixel is from
    columns = [int((level[0, 0] == 0).sum()), int((level[0, -1] == 2).sum())]
    row = int((level[0, :, 0] == 0).sum())
    assert columns[0] == columns[1]
    assert SIZE[0] // 4 <= row <= 3 * SIZE[0] // 4
    assert SIZE[1] // 4 <= columns[0] <= 3 * SIZE[1] // 4
    for corner, (rows, cols) in enumerate(
        (r, c) for r in (slice(0, row), slice(row, None)) for c in (slice(0, columns[0]), slice(columns[0], None))
    ):
        assert set(level[0, rows, cols].flatten().tolist()) == {corner}
    assert torch.equal(joined["visible"], infrared.expand(3, *SIZE))
    assert torch.equal(joined["fused"], infrared.expand(3, *SIZE))
    assert torch.equal(joined["previous"], infrared)
    assert torch.equal(joined["mask"] == 255, infrared > 100)
    assert torch.allclose(joined["saliency"] * 255, infrared.expand(2, *SIZE).float())


def test_boxes_stay_on_their_objects() -> None:
    found = 0
    for seed in range(60):
        joined = Mosaic(1.0, BoxRule(minimum_visible=0.0)).join([_pair(number) for number in range(4)], _seeded(seed))
        covered = torch.zeros(SIZE, dtype=torch.bool)
        for box, label in zip(joined["targets"]["boxes"].int().tolist(), joined["targets"]["labels"], strict=True):
            left, top, right, bottom = box
            inside = joined["infrared"][0, top:bottom, left:right]
            assert set(inside.flatten().tolist()) == {110 + 10 * int(label)}
            covered[top:bottom, left:right] = True
            found += 1
        # what no box covers is at most a sliver that is too narrow for one
        assert int(((joined["mask"][0] == 255) & ~covered).sum()) <= 4 * 18
    assert found > 60


def test_objects_of_which_little_is_left_are_dropped() -> None:
    counts = [
        sum(
            len(Mosaic(1.0, rule).join([_pair(n) for n in range(4)], _seeded(s))["targets"]["boxes"]) for s in range(30)
        )
        for rule in (BoxRule(minimum_visible=0.0), BoxRule(minimum_visible=0.9))
    ]
    assert counts[0] > counts[1] > 0


def test_words_are_the_first_pairs_and_the_content_is_all_four() -> None:
    pairs = [_pair(number) for number in range(4)]
    joined = Mosaic(1.0).join(pairs, _seeded(0))
    assert (joined["name"], joined["prompt"]) == ("0", "prompt 0")
    ids = {Mosaic(1.0).join([pairs[0], *pairs[n:], *pairs[1:n]], _seeded(0))["content_id"] for n in (1, 2)}
    assert joined["content_id"] in ids
    assert len(ids) == 2
    assert not ids & {pair["content_id"] for pair in pairs}


def test_it_joins_as_often_as_told_with_pairs_from_everywhere() -> None:
    generator = _seeded(0)
    drawn = [Mosaic(0.3).others(5, generator) for _ in range(500)]
    assert 110 < sum(map(bool, drawn)) < 190
    assert {index for indices in drawn for index in indices} == set(range(5))
    assert {len(indices) for indices in drawn} == {0, 3}
    assert not any(Mosaic(0.0).others(5, generator) for _ in range(50))


def test_inputs_stay_as_they_are() -> None:
    pairs = [_pair(number) for number in range(4)]
    Mosaic(1.0).join(pairs, _seeded(1))
    for number, pair in enumerate(pairs):
        for key in SPATIAL_KEYS:
            assert torch.equal(cast("dict[str, Any]", pair)[key], cast("dict[str, Any]", _pair(number))[key])
        assert torch.equal(pair["targets"]["boxes"], _pair(number)["targets"]["boxes"])


def test_depths_may_differ() -> None:
    pairs = [_pair(number) for number in range(4)]
    pairs[2]["infrared"] = pairs[2]["infrared"].float() / 255
    joined = Mosaic(1.0).join(pairs, _seeded(0))
    assert torch.allclose(joined["infrared"] * 255, joined["previous"].float())


@pytest.mark.parametrize("difference", ["size", "keys"])
def test_pairs_that_do_not_fit_are_named(difference: str) -> None:
    pairs = [_pair(number) for number in range(4)]
    if difference == "size":
        pairs[3]["visible"] = torch.zeros((3, 8, 8), dtype=torch.uint8)
    else:
        del pairs[3]["targets"]
    with pytest.raises(ValueError, match=r"d/3 .*transforms\.resize"):
        Mosaic(1.0).join(pairs, _seeded(0))


def test_ignored_regions_of_one_part_lie_where_its_part_lies() -> None:
    parts = [_pair(number) for number in range(4)]
    parts[3]["targets"] = {**parts[3]["targets"], "ignored": parts[3]["targets"]}
    joined = Mosaic(1.0, BoxRule(minimum_visible=0.0)).join(parts, _seeded(3))["targets"]
    own = joined["labels"] == 3
    assert own.any()
    assert joined["ignored"]["boxes"].tolist() == joined["boxes"][own].tolist()
    assert joined["ignored"]["labels"].tolist() == [3]
    assert "ignored" not in Mosaic(1.0).join([_pair(number) for number in range(4)], _seeded(3))["targets"]
