"""Samples become a batch once: in a loader process, where the training process will read it."""

import copy
import pickle
import re
from multiprocessing.reduction import ForkingPickler

import pytest
import torch

from ivif.contracts.batch import TargetList, Targets, collate, empty_targets
from ivif.testing.batches import make_sample


@pytest.mark.parametrize("in_worker", [False, True])
def test_planes_are_stacked_straight_into_shared_memory_in_a_loader_process(
    in_worker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.utils.data._utils.worker._worker_info", object() if in_worker else None)
    samples = [make_sample(index) for index in range(3)]
    batch = collate(samples)
    assert batch["visible"].untyped_storage().is_shared() == in_worker
    assert torch.equal(batch["visible"], torch.stack([sample["visible"] for sample in samples]))
    assert batch["visible"].dtype == torch.uint8


def test_targets_leave_a_loader_process_without_a_file_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.multiprocessing.reductions.reduce_storage", lambda _: pytest.fail("a descriptor"))
    samples = [make_sample(index) for index in range(3)]
    for count, sample in enumerate(samples):
        sample["targets"] = {"boxes": torch.rand(count, 4), "labels": torch.arange(count)}
    samples[1]["targets"]["ignored"] = {"boxes": torch.rand(2, 4), "labels": torch.tensor([1, 0])}
    batch = collate(samples)
    sent = pickle.loads(ForkingPickler.dumps(batch["targets"]))
    assert len(sent) == 3
    assert ["ignored" in targets for targets in sent] == [False, True, False]
    assert torch.equal(sent[1]["ignored"]["boxes"], samples[1]["targets"]["ignored"]["boxes"])
    assert sent[1]["ignored"]["labels"].tolist() == [1, 0]
    for sample, targets in zip(samples, sent, strict=True):
        assert torch.equal(targets["boxes"], sample["targets"]["boxes"])
        assert torch.equal(targets["labels"], sample["targets"]["labels"])
        assert targets["labels"].dtype == torch.int64


def test_targets_elsewhere_are_copied_as_they_are() -> None:
    targets = TargetList([{"boxes": torch.empty(2, 4, device="meta"), "labels": torch.empty(2, device="meta")}])
    assert copy.deepcopy(targets)[0]["boxes"].device.type == "meta"


@pytest.mark.parametrize("in_region", [False, True])
@pytest.mark.parametrize("labels", [[-1], [0, 3], [5, 1, 5]])
def test_a_label_beyond_the_detectors_classes_names_its_pair(labels: list[int], in_region: bool) -> None:
    samples = [make_sample(index) for index in range(3)]
    for sample in samples:
        sample["targets"] = {"boxes": torch.rand(2, 4), "labels": torch.tensor([0, 2])}
    classes = ("person", "car", "lamp")
    collate(samples, classes)
    wrong: Targets = {"boxes": torch.rand(len(labels), 4), "labels": torch.tensor(labels)}
    samples[1]["targets"] = {**empty_targets(), "ignored": wrong} if in_region else wrong
    collate(samples)
    message = (
        f"made/0001 has the labels {sorted(set(labels))}, but the detector knows 3 classes (person, car, lamp). "
        f"Give the task the classes of its dataset."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        collate(samples, classes)
