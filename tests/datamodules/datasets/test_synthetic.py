from dataclasses import replace
from random import Random
from typing import Literal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ivif.contracts.batch import Sample, collate
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.files.errors import SplitError
from ivif.scenes import CLASSES, TIMES
from ivif.scenes.layout import Item, compose
from ivif.scenes.render import annotate, draw_scene

PERSON, CAR, BICYCLE, LAMP = range(4)


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    dataset = SyntheticDataset(32)
    return [dataset[index] for index in range(len(dataset))]


def _of(scenes: list[Sample], time: str) -> list[Sample]:
    return [sample for sample in scenes if sample["name"].startswith(time)]


def test_sample_planes_and_identity(scenes: list[Sample]) -> None:
    sample = scenes[5]
    assert sample["visible"].shape == (3, 256, 256)
    assert sample["infrared"].shape == sample["mask"].shape == (1, 256, 256)
    assert all(sample[key].dtype == torch.uint8 for key in ("visible", "infrared", "mask"))
    assert sample["name"] == "night_000005"
    assert sample["dataset"] == "synthetic"
    assert bool(((sample["mask"] == 0) | (sample["mask"] == 255)).all())
    batch = collate(scenes[:4])
    assert batch["mask"].shape == (4, 1, 256, 256)
    assert len({sample["content_id"] for sample in scenes}) == len(scenes)


def test_bytes_depend_on_seed_and_number_only(scenes: list[Sample]) -> None:
    again = SyntheticDataset(12)
    for index in (9, 2):
        for key in ("visible", "infrared", "mask"):
            assert torch.equal(again[index][key], scenes[index][key])
        assert again[index]["prompt"] == scenes[index]["prompt"]
        assert again[index]["content_id"] == scenes[index]["content_id"]
    other = SyntheticDataset(12, seed=1)[9]
    assert not torch.equal(other["infrared"], scenes[9]["infrared"])
    assert other["content_id"] != scenes[9]["content_id"]


def test_a_worker_process_renders_the_same_bytes(scenes: list[Sample]) -> None:
    loader: DataLoader[Sample] = DataLoader(SyntheticDataset(4), batch_size=4, num_workers=1, collate_fn=collate)
    batch = next(iter(loader))
    assert torch.equal(batch["visible"], torch.stack([sample["visible"] for sample in scenes[:4]]))
    assert torch.equal(batch["infrared"], torch.stack([sample["infrared"] for sample in scenes[:4]]))


GOLDEN = {
    0: (
        [120.8, 133.3, 95.7, 112.5],
        [107.0, 95.1, 167.5, 151.8],
        [1, 3, 0, 1, 1],
        [
            [62.0, 45.0, 69.0, 51.0],
            [77.0, 5.0, 89.0, 10.0],
            [108.0, 42.0, 118.0, 64.0],
            [71.0, 43.0, 96.0, 67.0],
            [15.0, 40.0, 53.0, 68.0],
        ],
    ),
    1: (
        [23.5, 32.0, 22.4, 38.6],
        [35.5, 41.6, 76.8, 79.9],
        [1, 1, 1, 1, 0, 1, 2, 0, 3, 1],
        [
            [55.0, 34.0, 60.0, 38.0],
            [58.0, 35.0, 65.0, 41.0],
            [63.0, 37.0, 74.0, 46.0],
            [15.0, 38.0, 29.0, 45.0],
            [87.0, 40.0, 91.0, 47.0],
            [7.0, 42.0, 35.0, 52.0],
            [13.0, 49.0, 29.0, 58.0],
            [17.0, 42.0, 24.0, 57.0],
            [87.0, 7.0, 98.0, 12.0],
            [74.0, 46.0, 113.0, 77.0],
        ],
    ),
}
"""Mean visible and infrared of the four quadrants, and the boxes of one label, of scenes 0 and 1 at 96x128."""


@pytest.mark.parametrize("index", [0, 1])
def test_scenes_are_those_of_every_other_machine(index: int) -> None:
    sample = SyntheticDataset(2, (96, 128))[index]
    visible, infrared, labels, boxes = GOLDEN[index]
    assert torch.allclose(_quadrants(sample["visible"]), torch.tensor(visible), atol=1.0)
    assert torch.allclose(_quadrants(sample["infrared"]), torch.tensor(infrared), atol=1.0)
    assert sample["targets"]["labels"].tolist() == labels
    assert torch.allclose(sample["targets"]["boxes"], torch.tensor(boxes), atol=1.0)


def _quadrants(plane: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(plane.float().mean(dim=0, keepdim=True), 2).flatten()


def test_splits_share_no_scene() -> None:
    names = [name for split in ("train", "val", "test") for name in SyntheticDataset(40, split=split).names]
    assert len(set(names)) == 120
    assert names[40] == "day_400000"
    pictures = [SyntheticDataset(1, (64, 64), split=split)[0] for split in ("train", "val", "test")]
    assert len({sample["content_id"] for sample in pictures}) == 3
    assert not torch.equal(pictures[0]["infrared"], pictures[2]["infrared"])


@pytest.mark.parametrize("size", [(65, 97), (333, 517), (32, 200)])
def test_any_size(size: tuple[int, int]) -> None:
    dataset = SyntheticDataset(4, size)
    for index in range(4):
        sample = dataset[index]
        assert sample["visible"].shape == (3, *size)
        assert sample["infrared"].shape == sample["mask"].shape == (1, *size)
        boxes = sample["targets"]["boxes"]
        assert (boxes >= 0).all()
        assert (boxes[:, 2::2] <= size[1]).all()
        assert (boxes[:, 3::2] <= size[0]).all()
    assert dataset.image_size(0) == size


def test_boxes_hold_the_mask_and_touch_it(scenes: list[Sample]) -> None:
    touched = 0
    for sample in scenes:
        mask, inside = sample["mask"][0] > 0, torch.zeros(256, 256, dtype=torch.bool)
        boxes = sample["targets"]["boxes"].int().tolist()
        for left, top, right, bottom in boxes:
            assert min(right - left, bottom - top) >= 4
            inside[top:bottom, left:right] = True
        assert not (mask & ~inside).any()
        for label, (left, top, right, bottom) in zip(sample["targets"]["labels"].tolist(), boxes, strict=True):
            others = [b for b in boxes if b != [left, top, right, bottom]]
            alone = all(b[0] >= right or b[2] <= left or b[1] >= bottom or b[3] <= top for b in others)
            if label == PERSON and alone:
                rows, columns = mask[top:bottom, left:right].nonzero().unbind(1)
                slack = (rows.min(), columns.min(), bottom - top - 1 - rows.max(), right - left - 1 - columns.max())
                assert max(int(value) for value in slack) <= 1
                touched += 1
    assert touched >= 12


def _person_contrasts(samples: list[Sample], key: Literal["infrared", "visible"]) -> list[float]:
    """By how much each labelled person is brighter than what else is in its box."""
    differences = []
    for sample in samples:
        plane, mask = sample[key].float().mean(dim=0), sample["mask"][0] > 0
        for label, box in zip(sample["targets"]["labels"], sample["targets"]["boxes"].int().tolist(), strict=True):
            left, top, right, bottom = box
            body = mask[top:bottom, left:right]
            if label == PERSON and body.sum() > 40 and (~body).sum() > 40:
                patch = plane[top:bottom, left:right]
                differences.append(float(patch[body].median() - patch[~body].median()))
    return differences


@pytest.mark.parametrize("time", TIMES)
def test_persons_glow_in_infrared_at_all_times(scenes: list[Sample], time: str) -> None:
    differences = _person_contrasts(_of(scenes, time), "infrared")
    assert len(differences) >= 5
    assert np.median(differences) > 45
    assert min(differences) > 0


def test_night_hides_persons_in_the_visible(scenes: list[Sample]) -> None:
    night = _of(scenes, "night")
    visible = np.median(np.abs(_person_contrasts(night, "visible")))
    assert np.median(_person_contrasts(night, "infrared")) > 5 * visible
    assert np.mean([float(sample["visible"].float().mean()) for sample in night]) < 70


def test_lights_saturate_a_little_of_the_night(scenes: list[Sample]) -> None:
    shares = [float((sample["visible"].amin(dim=0) > 240).float().mean()) for sample in _of(scenes, "night")]
    assert max(shares) > 0
    assert max(shares) < 0.1


def test_texture_and_paint_are_in_the_visible_only(scenes: list[Sample]) -> None:
    for sample in _of(scenes, "day"):
        visible, infrared = sample["visible"].float().mean(dim=0), sample["infrared"][0].float()
        road = slice(200, 256)
        assert _roughness(visible[road]) > 2 * _roughness(infrared[road])
        assert infrared[:20].mean() < infrared[road].mean() - 40


def _roughness(plane: torch.Tensor) -> float:
    return float((plane[:, 1:] - plane[:, :-1]).abs().mean())


def test_fog_swallows_the_distance(scenes: list[Sample]) -> None:
    band = slice(96, 120)
    spread = {
        time: np.mean([float(sample["visible"][:, band].float().mean(dim=0).std()) for sample in _of(scenes, time)])
        for time in ("day", "fog")
    }
    assert spread["fog"] < 0.8 * spread["day"]


def test_the_pair_is_registered(scenes: list[Sample]) -> None:
    shifts = range(-3, 4)
    score = np.zeros(len(shifts))
    for sample in _of(scenes, "day"):
        edges = [
            (p[:, 1:] - p[:, :-1]).abs() for p in (sample["visible"].float().mean(0), sample["infrared"][0].float())
        ]
        for position, shift in enumerate(shifts):
            score[position] += float((edges[0][:, 8:-8] * edges[1].roll(shift, 1)[:, 8:-8]).mean())
    assert shifts[int(score.argmax())] == 0


def test_every_class_and_every_time_occurs(scenes: list[Sample]) -> None:
    labels = torch.cat([sample["targets"]["labels"] for sample in scenes])
    assert sorted(set(labels.tolist())) == [PERSON, CAR, BICYCLE, LAMP]
    assert SyntheticDataset.classes == CLASSES == ("person", "car", "bicycle", "lamp")
    assert {sample["name"].split("_")[0] for sample in scenes} == set(TIMES)


def test_targets_without_rendering_are_the_same(scenes: list[Sample]) -> None:
    dataset = SyntheticDataset(8)
    for index in range(8):
        targets = dataset.load_targets(index)
        assert torch.equal(targets["boxes"], scenes[index]["targets"]["boxes"])
        assert torch.equal(targets["labels"], scenes[index]["targets"]["labels"])


def test_an_object_behind_another_is_not_labelled() -> None:
    size = (256, 256)
    scene = compose(Random("occlusion"), "day", size)
    person = Item("person", 0.0, 24.0, 1, active=True, seed=3)
    car = Item("front", 0.0, 7.0, 1, active=True, seed=3)
    camera = replace(scene.camera, height=1.4, bend=0.0)
    found = []
    for items in ((person,), (person, car)):
        _, labels, mask = annotate(*draw_scene(replace(scene, camera=camera, buildings=(), items=items), size))
        found.append((labels.tolist(), int(mask.max())))
    assert found == [([PERSON], 255), ([CAR], 255)]


def test_a_parked_car_is_labelled_but_not_warm() -> None:
    size = (256, 256)
    scene = compose(Random("parked"), "night", size)
    car = Item("rear", 0.0, 8.0, 1, active=False, seed=3)
    _, labels, mask = annotate(*draw_scene(replace(scene, items=(car,)), size))
    assert labels.tolist() == [CAR]
    assert mask.max() == 0


def test_the_caption_tells_time_and_counts(scenes: list[Sample]) -> None:
    assert scenes[1]["prompt"].startswith("A road scene at night with ")
    assert scenes[3]["prompt"].startswith("A foggy road scene with ")
    empty = next((sample for sample in scenes if not len(sample["targets"]["labels"])), None)
    assert empty is None or empty["prompt"].endswith("with no objects.")


def test_select_and_times() -> None:
    dataset = SyntheticDataset(6, (64, 64), times=("night", "fog"))
    assert dataset.names[:3] == ["night_000000", "fog_000001", "night_000002"]
    subset = dataset.select(["fog_000003", "night_000000"])
    assert subset.names == ["fog_000003", "night_000000"]
    assert torch.equal(subset[0]["infrared"], dataset[3]["infrared"])
    with pytest.raises(SplitError, match=r"1 of 2 names.*day_000009"):
        dataset.select(["fog_000001", "day_000009"])


def test_transforms_see_the_finished_sample() -> None:
    def darken(sample: Sample) -> Sample:
        return {**sample, "visible": sample["visible"] // 2}

    plain, dark = SyntheticDataset(1, (64, 64)), SyntheticDataset(1, (64, 64), transforms=darken)
    assert torch.equal(dark[0]["visible"], plain[0]["visible"] // 2)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(SplitError, match="no split 'dev'; known: train, val, test"):
        SyntheticDataset(split="dev")
    with pytest.raises(ValueError, match="size is 16x64"):
        SyntheticDataset(size=(16, 64))
    with pytest.raises(ValueError, match="day, night, dusk, fog"):
        SyntheticDataset(times=("noon",))
    with pytest.raises(SplitError, match="0 to 300000 scenes, not 300001"):
        SyntheticDataset(300_001, split="val")
    with pytest.raises(IndexError):
        SyntheticDataset(2)[2]
    with pytest.raises(IndexError, match="no index 2"):
        SyntheticDataset(2).image_size(2)
