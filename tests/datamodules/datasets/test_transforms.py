"""Joint transforms: what they do to pairs, planes and boxes."""

from typing import Any, Literal, cast

import pytest
import torch
from torch import Generator, Tensor

from ivif.contracts.batch import SPATIAL_KEYS, Sample
from ivif.datamodules.datasets.appearance import AddClipViews, VisibleJitter
from ivif.datamodules.datasets.boxes import BoxRule, flip_horizontal, flip_vertical, rotate_90
from ivif.datamodules.datasets.transforms import (
    Compose,
    RandomCrop,
    RandomFlipRotate90,
    RandomZoom,
    Resize,
    Transform,
)

GEOMETRIC: list[Transform] = [
    RandomCrop(40),
    RandomCrop((56, 90)),
    RandomCrop((70, 50)),
    RandomFlipRotate90("horizontal", False),
    RandomFlipRotate90(),
    Resize((64, 100)),
    RandomZoom((0.4, 0.9)),
    RandomZoom((1.1, 1.6)),
    RandomZoom((1.0, 1.0)),
]


def sample_with_blob(height: int = 48, width: int = 64, box: tuple[int, int, int, int] = (22, 14, 36, 26)) -> Sample:
    """A bright blob inside a box, in every spatial plane; the visible image is strided as a reader gives it."""
    left, top, right, bottom = box
    blob = torch.zeros(height, width, dtype=torch.uint8)
    blob[top:bottom, left:right] = 255
    return {
        "infrared": blob[None].clone(),
        "visible": blob[..., None].repeat(1, 1, 3).permute(2, 0, 1),
        "name": "blob",
        "dataset": "test",
        "content_id": "0",
        "targets": {"boxes": torch.tensor([box], dtype=torch.float32), "labels": torch.tensor([3])},
        "mask": blob[None].clone(),
        "saliency": blob[None].repeat(2, 1, 1).float() / 255,
        "previous": blob[None].clone(),
        "fused": blob[None].repeat(3, 1, 1),
    }


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def planes(sample: Sample) -> dict[str, Tensor]:
    return {key: cast("dict[str, Any]", sample)[key] for key in SPATIAL_KEYS}


@pytest.mark.parametrize("transform", GEOMETRIC, ids=lambda transform: type(transform).__name__)
@pytest.mark.parametrize("seed", range(6))
def test_a_box_around_a_blob_still_holds_it(transform: Transform, seed: int) -> None:
    original = sample_with_blob()
    moved = Compose([transform])(original, seeded(seed))
    assert len({tuple(plane.shape[-2:]) for plane in planes(moved).values()}) == 1
    targets = moved["targets"]
    for key, plane in planes(moved).items():
        assert plane.is_contiguous()
        assert plane.dtype == planes(original)[key].dtype
        bright = (plane.float() / plane.max().clamp(min=1) > 0.75).any(dim=0)
        if len(targets["boxes"]) == 0:
            continue
        left, top, right, bottom = targets["boxes"][0].round().int().tolist()
        inside = bright[top:bottom, left:right]
        assert inside.float().mean() > 0.8, key
        rows, columns = bright.nonzero().unbind(-1)
        mirrored = isinstance(transform, RandomCrop) and min(transform.size) > 48
        if not mirrored:
            assert rows.min() >= top - 1
            assert rows.max() <= bottom
            assert columns.min() >= left - 1
            assert columns.max() <= right


@pytest.mark.parametrize("transform", [*GEOMETRIC, VisibleJitter(0.2, 0.2, 0.2), AddClipViews(16)])
def test_the_same_seed_gives_the_same_sample_and_inputs_stay(transform: Transform) -> None:
    original = sample_with_blob()
    first, second = transform(original, seeded(5)), transform(sample_with_blob(), seeded(5))
    torch.manual_seed(1)
    for key, plane in planes(first).items():
        assert torch.equal(plane, planes(second)[key])
        assert torch.equal(planes(original)[key], planes(sample_with_blob())[key])
    assert first["targets"]["boxes"].tolist() == second["targets"]["boxes"].tolist()
    assert original["targets"]["boxes"].tolist() == [[22, 14, 36, 26]]


def test_global_randomness_is_not_touched() -> None:
    state = torch.get_rng_state()
    steps: list[Transform] = [
        RandomZoom((0.5, 2.0)),
        RandomCrop(20),
        RandomFlipRotate90(),
        VisibleJitter(0.2, 0.2, 0.2),
    ]
    Compose(steps)(sample_with_blob(), seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_crops_are_windows_that_reach_every_corner() -> None:
    ramp = torch.arange(6 * 7, dtype=torch.uint8).reshape(1, 6, 7)
    sample = sample_with_blob(6, 7, (1, 1, 5, 5))
    sample["infrared"] = ramp
    corners = set()
    generator = seeded()
    for _ in range(200):
        window = RandomCrop((4, 4))(sample, generator)["infrared"]
        row, column = divmod(int(window[0, 0, 0]), 7)
        assert torch.equal(window, ramp[:, row : row + 4, column : column + 4])
        corners.add((row, column))
    assert corners == {(row, column) for row in range(3) for column in range(4)}


def test_crop_of_a_large_image_copies_nothing() -> None:
    sample = sample_with_blob()
    window = RandomCrop(20)(sample, seeded())["visible"]
    assert window.untyped_storage().data_ptr() == sample["visible"].untyped_storage().data_ptr()


def test_padding_mirrors_at_the_edge() -> None:
    sample = sample_with_blob(3, 3, (0, 0, 3, 3))
    sample["infrared"] = torch.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], dtype=torch.uint8)
    mirrored = RandomCrop((3, 9))(sample, seeded())
    assert mirrored["infrared"][0, 0].tolist() == [2, 3, 2, 1, 2, 3, 2, 1, 2]
    assert mirrored["targets"]["boxes"].tolist() == [[3, 0, 6, 3]]
    single = sample_with_blob(1, 1, (0, 0, 1, 1))
    assert set(RandomCrop(4)(single, seeded())["visible"].flatten().tolist()) == {255}


def test_boxes_cut_by_the_window_follow_the_rule() -> None:
    sample = sample_with_blob(48, 64, (0, 0, 64, 48))
    assert RandomCrop(16, rule=BoxRule(minimum_visible=0.5))(sample, seeded())["targets"]["boxes"].shape == (0, 4)
    kept = RandomCrop(16, rule=BoxRule(minimum_visible=0.05))(sample, seeded())["targets"]
    assert kept["boxes"].tolist() == [[0, 0, 16, 16]]


def flipped_and_rotated(sample: Sample, flip: bool | str, rotate90: bool, generator: Generator) -> Sample:
    """One after the other, with torch's functions: the draws that a seed stands for in all versions."""
    height, width = sample["visible"].shape[-2:]
    changed, targets = planes(sample), sample["targets"]
    if flip and torch.rand((), generator=generator) < 0.5:
        changed = {key: plane.flip(-1) for key, plane in changed.items()}
        targets = flip_horizontal(targets, width)
    if flip is True and torch.rand((), generator=generator) < 0.5:
        changed = {key: plane.flip(-2) for key, plane in changed.items()}
        targets = flip_vertical(targets, height)
    if rotate90:
        torch.rand((), generator=generator)
        quarters = int(torch.randint(4, (), generator=generator))
        quarters = quarters if height == width else 2 * (quarters % 2)
        changed = {key: plane.rot90(quarters, (-2, -1)) for key, plane in changed.items()}
        targets = rotate_90(targets, (height, width), quarters)
    return cast("Sample", {**sample, **changed, "targets": targets})


@pytest.mark.parametrize("size", [(8, 8), (8, 12)])
@pytest.mark.parametrize(
    ("flip", "rotate90", "distinct"),
    [(True, True, (8, 4)), (True, False, (4, 4)), (False, True, (4, 2)), ("horizontal", False, (2, 2))],
)
def test_flips_and_rotation_reach_every_orientation(
    size: tuple[int, int], flip: bool | Literal["horizontal"], rotate90: bool, distinct: tuple[int, int]
) -> None:
    sample = sample_with_blob(*size, (1, 2, 4, 7))
    sample["infrared"] = torch.arange(size[0] * size[1], dtype=torch.uint8).view(1, *size)
    results = set()
    for seed in range(40):
        generators = [seeded(seed), seeded(seed)]
        expected = flipped_and_rotated(sample, flip, rotate90, generators[0])
        turned = RandomFlipRotate90(flip, rotate90)(sample, generators[1])
        for key, plane in planes(turned).items():
            assert torch.equal(plane, planes(expected)[key])
            assert plane.is_contiguous()
        assert torch.equal(turned["targets"]["boxes"], expected["targets"]["boxes"])
        assert torch.equal(*(generator.get_state() for generator in generators)), "it draws as often"
        results.add(turned["infrared"].numpy().tobytes())
    assert len(results) == distinct[size[0] != size[1]]


def test_resize_keeps_masks_hard_and_antialiases_images() -> None:
    sample = sample_with_blob()
    stripes = torch.zeros(1, 48, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    sample["infrared"] = stripes
    sample["mask"] = stripes
    small = Resize((12, 16))(sample, seeded())
    assert 110 < small["infrared"][..., 2:-2].float().min() <= small["infrared"][..., 2:-2].float().max() < 145
    assert set(small["mask"].flatten().tolist()) <= {0, 255}
    assert small["targets"]["boxes"].tolist() == [[5.5, 3.5, 9, 6.5]]


def test_zoom_shows_a_window_larger_at_the_same_size() -> None:
    ramp = torch.arange(48, dtype=torch.uint8)[:, None] * 4 + torch.zeros(64, dtype=torch.uint8)
    sample = sample_with_blob()
    sample["infrared"] = ramp[None]
    starts = set()
    for seed in range(40):
        shown = RandomZoom((2.0, 2.0))(sample, seeded(seed))
        assert shown["visible"].shape == (3, 48, 64)
        rows = shown["infrared"][0, :, 0].float() / 4
        start = float(rows[0])
        assert rows[-1] - rows[0] == pytest.approx(23, abs=1)  # 24 of 48 rows are seen
        starts.add(round(start))
        for box in shown["targets"]["boxes"].tolist():
            assert box[1] == pytest.approx(max(0.0, 2 * (14 - round(start))), abs=1)
    assert min(starts) < 4
    assert max(starts) > 20


def test_zoom_shows_the_whole_frame_smaller_somewhere_on_grey() -> None:
    places = set()
    for seed in range(20):
        shown = RandomZoom((0.5, 0.5))(sample_with_blob(box=(0, 0, 64, 48)), seeded(seed))
        left, top, right, bottom = shown["targets"]["boxes"][0].tolist()
        assert (right - left, bottom - top) == (32, 24)
        assert shown["infrared"].shape == (1, 48, 64)
        assert shown["mask"].sum() / 255 == pytest.approx(32 * 24, rel=0.02)
        outside = torch.ones(48, 64, dtype=torch.bool)
        outside[max(0, int(top) - 2) : int(bottom) + 2, max(0, int(left) - 2) : int(right) + 2] = False
        assert set(shown["fused"][0][outside].tolist()) == {114}
        places.add((left, top))
    assert len(places) > 10


def test_zoom_drops_what_became_too_small_or_is_mostly_outside() -> None:
    small = sample_with_blob(box=(30, 20, 36, 26))
    assert len(RandomZoom((0.5, 0.5), BoxRule(minimum_side=3.5))(small, seeded())["targets"]["boxes"]) == 0
    assert len(RandomZoom((0.5, 0.5), BoxRule(minimum_side=2.5))(small, seeded())["targets"]["boxes"]) == 1
    # too small as it is, large enough as it is shown
    shown = [RandomZoom((2.0, 2.0), BoxRule(minimum_side=8.0))(small, seeded(seed)) for seed in range(20)]
    assert any(len(sample["targets"]["boxes"]) for sample in shown)
    wide = sample_with_blob(box=(0, 0, 64, 48))
    assert len(RandomZoom((2.0, 2.0), BoxRule(minimum_visible=0.3))(wide, seeded())["targets"]["boxes"]) == 0


def test_zoom_by_one_is_nothing_and_wrong_factors_are_refused() -> None:
    sample = sample_with_blob()
    assert RandomZoom((1.0, 1.0))(sample, seeded()) is sample
    for factors in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="positive, the smaller one first"):
            RandomZoom(factors)


def test_pairs_without_boxes_or_extra_planes() -> None:
    full = sample_with_blob()
    bare: Sample = {key: full[key] for key in ("infrared", "visible", "name", "dataset", "content_id")}  # type: ignore[assignment]
    moved = Compose(GEOMETRIC)(bare, seeded())
    assert set(moved) == set(bare)
