"""Samples become a batch once: in a loader process, where the training process will read it."""

import pytest
import torch

from datamodules.datasets.batch import collate
from tests.batches import make_sample


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
