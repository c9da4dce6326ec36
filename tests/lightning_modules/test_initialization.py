"""Starting from another run's weights: what is taken, what starts anew, what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_modules.initialization import initialise_from
from lightning_modules.prompt_learning import PromptsConfig
from lightning_modules.promptfusion import PromptFusionTask
from models.detection import DetectorConfig
from models.layers.frozen import CheckpointMismatchError, FrozenPartMismatchError
from models.promptfusion import PromptFusionConfig

DETECTOR = DetectorConfig("yolov5n", image_size=None)
PROMPTS = PromptsConfig(clip="random-tiny", length=4)


def _task(seed: int, channels: int = 4, **changes: Any) -> PromptFusionTask:
    torch.manual_seed(seed)
    network = PromptFusionConfig(channels=channels, blocks=1, heads=2, detail_channels=(4, 4, 4, 4))
    options: dict[str, Any] = {"network": network, "prompts": PROMPTS, "detector": DETECTOR, "classes": ["person"]}
    return PromptFusionTask(**(options | changes))


def _checkpoint(task: PromptFusionTask) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": {name: value.clone() for name, value in task.state_dict().items()}}
    task.on_save_checkpoint(checkpoint)
    return checkpoint


def _equal(first: dict[str, Tensor], second: dict[str, Tensor], part: str) -> bool:
    keys = [key for key in first if key.startswith(f"{part}.")]
    return bool(keys) and all(torch.equal(first[key], second[key]) for key in keys)


def test_shared_parts_are_taken_and_a_run_s_own_state_is_not() -> None:
    other, task = _task(1), _task(2)
    other.round_number.fill_(5)
    assert other.learner is not None
    with torch.no_grad():
        other.learner.prompts.positive.add_(1.0)  # both began with the same sentences
    before = {name: value.clone() for name, value in task.state_dict().items()}
    transfer = initialise_from(task, _checkpoint(other))
    given, now = other.state_dict(), task.state_dict()
    assert transfer.taken == ("network", "part", "learner")
    assert not transfer.fresh
    assert not transfer.left
    assert all(_equal(now, given, part) for part in transfer.taken)
    assert _equal(now, before, "teacher")
    assert _equal(now, before, "value_network")
    assert int(task.round_number) == -1


def test_parts_that_the_checkpoint_lacks_start_anew_and_unknown_ones_are_left() -> None:
    fusion = _task(1, detector=None, classes=None)
    task = _task(2)
    assert initialise_from(task, _checkpoint(fusion)) == (("network", "learner"), ("part",), ())
    plain = _task(3, prompts=None, detector=None, classes=None)
    assert initialise_from(plain, _checkpoint(task)) == (("network",), (), ("part", "learner"))
    assert _equal(plain.state_dict(), fusion.state_dict(), "network")


def test_parts_with_files_of_their_own_and_detectors_of_other_classes_are_left_alone() -> None:
    other, task = _task(1), _task(2)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    transfer = initialise_from(task, _checkpoint(other), keep=["learner"])
    assert (transfer.taken, transfer.fresh) == (("network", "part"), ())
    checkpoint = _checkpoint(other) | {"hyper_parameters": {"classes": ["car"]}}
    task = _task(2)
    transfer = initialise_from(task, checkpoint)
    assert (transfer.taken, transfer.fresh) == (("network", "learner"), ("part",))
    assert _equal(task.state_dict(), before, "part")


def test_other_sizes_are_refused_and_nothing_changes() -> None:
    task = _task(2)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match=r"network\..* is \(24, .* there and \(12, "):
        initialise_from(task, _checkpoint(_task(1, channels=8)))
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_another_method_or_nothing_shared_is_refused() -> None:
    checkpoint = _checkpoint(_task(1))
    with pytest.raises(CheckpointMismatchError, match=r"one of lightning_modules\.mgfusion\.MGFusionTask"):
        initialise_from(_task(2), checkpoint | {"task": "lightning_modules.mgfusion.MGFusionTask"})
    with pytest.raises(CheckpointMismatchError, match="shares no part"):
        initialise_from(_task(2), checkpoint | {"state_dict": {"body.weight": torch.zeros(1)}})


def test_prompts_of_another_encoder_are_refused() -> None:
    checkpoint = _checkpoint(_task(1))
    checkpoint["frozen_parts"] = {"learner.prompts.encoder": "ViT-B-32:openai@0123456789ab"}
    with pytest.raises(FrozenPartMismatchError, match="ViT-B-32:openai@0123456789ab"):
        initialise_from(_task(2), checkpoint)
    assert initialise_from(_task(2, prompts=None), checkpoint).taken == ("network", "part")
