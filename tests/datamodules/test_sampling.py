"""Draws depend on seed, epoch and index alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.contracts.run_files import STORE_RECORD, set_aside
from ivif.datamodules.batch_sizes import of_each_process
from ivif.datamodules.configuration import LoadingConfig
from ivif.datamodules.datasets.mosaic import Mosaic
from ivif.datamodules.datasets.stored import StoredPlanes
from ivif.datamodules.sampling import EpochSampler, EvaluationSampler, TrainingView
from ivif.files.errors import DatasetError


class _Numbers(Dataset[Sample]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        plane = torch.full((1, 2, 2), float(index))
        return {
            "infrared": plane,
            "visible": plane.expand(3, 2, 2),
            "name": str(index),
            "dataset": "numbers",
            "content_id": str(index),
        }


def _noise(sample: Sample, generator: torch.Generator) -> Sample:
    sample["infrared"] = torch.rand((1, 2, 2), generator=generator)
    return sample


def test_an_epoch_draws_whole_batches_without_repeats() -> None:
    sampler = EpochSampler(length=10, batch_size=4, seed=1)
    draws = list(sampler)
    assert len(draws) == len(sampler) == 8
    assert len({index for _, index in draws}) == 8
    assert {epoch for epoch, _ in draws} == {0}


def test_epochs_and_seeds_differ_and_repeat() -> None:
    sampler = EpochSampler(length=50, batch_size=5, seed=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert [index for _, index in sampler] != [index for _, index in first]
    assert list(EpochSampler(length=50, batch_size=5, seed=2)) != first


def test_ranks_share_an_epoch_without_overlap() -> None:
    shares = [[i for _, i in EpochSampler(11, 2, seed=3, rank=rank, world_size=2)] for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == 4
    assert not set(shares[0]) & set(shares[1])


def test_resuming_continues_with_the_next_batch_and_only_once() -> None:
    sampler = EpochSampler(length=20, batch_size=4, seed=0)
    sampler.set_epoch(3)
    complete = list(sampler)
    resumed = EpochSampler(length=20, batch_size=4, seed=0, position=lambda: (3, 2))
    assert list(resumed) == complete[8:]
    assert list(resumed) == complete


def test_a_finished_epoch_is_not_skipped() -> None:
    assert len(list(EpochSampler(length=20, batch_size=4, position=lambda: (0, 5)))) == 20


def test_a_dataset_smaller_than_a_batch_is_repeated() -> None:
    draws = [index for _, index in EpochSampler(length=3, batch_size=8)]
    assert len(draws) == 8
    assert set(draws) == {0, 1, 2}


def test_balanced_draws_take_as_many_of_each_dataset() -> None:
    parts = (90, 0, 8, 2)
    sampler = EpochSampler(length=100, batch_size=6, seed=1, parts=parts)
    drawn = [index for _, index in sampler]
    assert len(drawn) == len(sampler) == 96
    large, small, tiny = (
        [index for index in drawn if first <= index < first + count] for first, count in ((0, 90), (90, 8), (98, 2))
    )
    assert [len(own) for own in (large, small, tiny)] == [32, 32, 32]
    assert len(set(large)) == 32, "no pair of a large dataset comes twice"
    assert all(small.count(index) == 4 for index in range(90, 98)), "every pair of a small one comes as often"
    assert all(tiny.count(index) == 16 for index in (98, 99))
    assert drawn != sorted(drawn)
    assert {index < 90 for index in drawn[:24]} == {True, False}, "datasets are mixed"


def test_balanced_draws_are_shared_resumed_and_repeated_like_others() -> None:
    whole = list(EpochSampler(length=23, batch_size=2, seed=3, parts=(20, 3)))
    shares = [list(EpochSampler(23, 1, seed=3, rank=rank, world_size=2, parts=(20, 3))) for rank in range(2)]
    assert [draw for pair in zip(*shares, strict=True) for draw in pair] == whole
    sampler = EpochSampler(length=23, batch_size=2, seed=3, parts=(20, 3), position=lambda: (0, 4))
    assert list(sampler) == whole[8:]
    sampler.set_epoch(1)
    assert [index for _, index in sampler] != [index for _, index in whole]


def test_one_part_is_drawn_as_without_parts() -> None:
    assert list(EpochSampler(20, 4, seed=5, parts=(20, 0))) == list(EpochSampler(20, 4, seed=5))


def test_parts_that_are_not_all_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\) pairs are 7, not the 8"):
        EpochSampler(length=8, batch_size=1, parts=(3, 4))


@pytest.mark.parametrize(("length", "processes"), [(5, 2), (6, 3), (1, 1), (0, 1)])
def test_processes_evaluate_every_pair_once(length: int, processes: int) -> None:
    shares = [EvaluationSampler(length, rank, processes) for rank in range(processes)]
    assert sorted(index for share in shares for index in share) == list(range(length))
    assert all(list(share) == sorted(share) for share in shares)
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]


@pytest.mark.parametrize(
    ("length", "processes", "repeat", "each"), [(5, 2, True, 3), (6, 3, True, 2), (2, 4, False, 1), (0, 2, False, 0)]
)
def test_evened_out_shares_are_equally_long_and_complete(length: int, processes: int, repeat: bool, each: int) -> None:
    shares = [list(EvaluationSampler(length, rank, processes, repeat)) for rank in range(processes)]
    assert [len(share) for share in shares] == [each] * processes
    assert {index for share in shares for index in share} == set(range(length))


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no training pairs"):
        EpochSampler(length=0, batch_size=1)


def test_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    view = TrainingView(_Numbers(), _noise, seed=5)
    again = TrainingView(_Numbers(), _noise, seed=5)
    torch.manual_seed(99)
    assert torch.equal(view[(2, 7)]["infrared"], again[(2, 7)]["infrared"])
    assert not torch.equal(view[(2, 7)]["infrared"], view[(3, 7)]["infrared"])
    assert not torch.equal(view[(2, 7)]["infrared"], view[(2, 6)]["infrared"])
    assert not torch.equal(view[(2, 7)]["infrared"], TrainingView(_Numbers(), _noise, seed=6)[(2, 7)]["infrared"])


def test_a_mosaic_is_drawn_by_seed_epoch_and_index_too() -> None:
    views = [TrainingView(_Numbers(), lambda sample, _: sample, seed=5, mosaic=Mosaic(0.5)) for _ in range(2)]
    contents = {}
    for epoch in range(4):
        for index in range(10):
            first, again = (view[(epoch, index)] for view in views)
            assert torch.equal(first["infrared"], again["infrared"])
            assert first["name"] == again["name"] == str(index)
            contents[epoch, index] = first["content_id"]
    joined = [content for (_, index), content in contents.items() if content != str(index)]
    assert 10 < len(joined) < 30
    assert len(set(joined)) == len(joined)


def test_frames_are_prepared_before_they_are_joined() -> None:
    def number(sample: Sample, _: torch.Generator) -> Sample:
        return {**sample, "mask": sample["infrared"] + 1}

    view = TrainingView(_Numbers(), lambda sample, _: sample, prepare=[number], mosaic=Mosaic(1.0))
    for index in range(10):
        sample = view[(0, index)]
        assert torch.equal(sample["mask"], sample["infrared"] + 1)


def test_results_are_shown_in_the_epoch_after_theirs_alone(tmp_path: Path) -> None:
    for index in range(10):
        Image.fromarray(np.full((2, 2), 20 * index, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    store = StoredPlanes(_Numbers(), tmp_path, "previous", 1)
    view = TrainingView(_Numbers(), lambda sample, _: sample, previous=store)
    assert "previous" not in view[(0, 3)]
    assert "previous" not in view[(1, 3)]
    (tmp_path / STORE_RECORD).write_text('{"epoch": 0}')
    assert ["previous" in view[(epoch, 3)] for epoch in range(4)] == [False, True, False, False]
    assert set(view[(1, 3)]["previous"].flatten().tolist()) == {60}
    (tmp_path / STORE_RECORD).write_text('{"epoch": 1}')
    assert ["previous" in view[(epoch, 3)] for epoch in range(4)] == [False, False, True, False]
    shutil.copytree(tmp_path, set_aside(tmp_path, 2))
    (set_aside(tmp_path, 2) / STORE_RECORD).write_text('{"epoch": 2}')
    assert ["previous" in view[(epoch, 3)] for epoch in range(4)] == [False, False, True, True]


def test_processes_that_share_a_batch_make_the_step_of_one() -> None:
    def steps(processes: int) -> list[set[int]]:
        share = of_each_process(LoadingConfig(batch_size=6, share_batch=True), processes)
        ranks = [[index for _, index in EpochSampler(20, share, 1, rank, processes)] for rank in range(processes)]
        return [{index for rank in ranks for index in rank[n * share : (n + 1) * share]} for n in range(3)]

    assert steps(1) == steps(2) == steps(3) == steps(6)
    assert all(len(step) == 6 for step in steps(3))
    assert of_each_process(LoadingConfig(batch_size=6), 3) == 6


@pytest.mark.parametrize(("pairs", "processes", "remedy"), [(16, 3, 15), (2, 8, 8), (6, 4, 8)])
def test_a_batch_that_cannot_be_shared_is_refused(pairs: int, processes: int, remedy: int) -> None:
    with pytest.raises(DatasetError, match=rf"{processes} processes cannot share.*`loading.batch_size` to {remedy}\."):
        of_each_process(LoadingConfig(batch_size=pairs, share_batch=True), processes)
