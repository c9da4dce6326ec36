"""A task knows the pictures that it has learnt from: over stops, processes, and the fusion that a detector looks at."""

from typing import Any

import pytest

from ivif.contracts.batch import Batch
from ivif.contracts.trained_pictures import TrainedPictures
from ivif.lightning_modules import base
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.testing.batches import make_batch


def _batch(*numbers: int) -> Batch:
    batch = make_batch(len(numbers))
    batch["picture_ids"] = [f"{number:016x}" for number in numbers]
    return batch


def _saved(task: FusionTask) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {}
    task.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_stopped_run_ends_with_the_pictures_of_one_that_was_not() -> None:
    whole, first, second = (ClassicFusionTask("average") for _ in range(3))
    for task, numbers in ((whole, (3, 1)), (whole, (2, 1)), (first, (3, 1))):
        task.trained_pictures.note(_batch(*numbers))
    second.on_load_checkpoint(_saved(first))
    second.trained_pictures.note(_batch(2, 1))
    assert _saved(second)["trained_pictures"]["pictures"].tolist() == [1, 2, 3]
    assert _saved(whole)["trained_pictures"]["pictures"].tolist() == [1, 2, 3]


def test_a_checkpoint_has_the_pictures_of_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "gather_objects", lambda own: [own, TrainedPictures({5}), TrainedPictures({1}, False)])
    task = ClassicFusionTask("average")
    task.trained_pictures.note(_batch(1, 2))
    entry = _saved(task)["trained_pictures"]
    assert entry["pictures"].tolist() == [1, 2, 5]
    assert entry["complete"] is False


def test_what_a_trained_fusion_within_has_learnt_from_counts() -> None:
    detector, fusion = ClassicFusionTask("average"), ClassicFusionTask("maximum")
    detector.trained_pictures.note(_batch(1))
    fusion.trained_pictures.note(_batch(2))
    detector.add_module("source", fusion)
    assert detector.learnt_from().ids == {1, 2}
    assert detector.trained_pictures.ids == {1}
