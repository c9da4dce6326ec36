"""Starting from another run's weights: what is taken, what starts anew, what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.initialization import initialise_from
from ivif.lightning_modules.prompt_learning import PromptsConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.models.detection import DetectorConfig
from ivif.models.detection.weights import _CLASS_ROWS
from ivif.models.layers.frozen import CheckpointMismatchError, FrozenPartMismatchError
from ivif.models.promptfusion import PromptFusionConfig

DETECTOR = DetectorConfig("yolov5n", image_size=None)
PROMPTS = PromptsConfig(clip="random-tiny", length=4)


def _task(seed: int, channels: int = 4, **changes: Any) -> PromptFusionTask:
    torch.manual_seed(seed)
    network = PromptFusionConfig(channels=channels, blocks=1, heads=2, detail_channels=(4, 4, 4, 4))
    options: dict[str, Any] = {"network": network, "prompts": PROMPTS, "detector": DETECTOR, "classes": ["person"]}
    return PromptFusionTask(**(options | changes))


def _checkpoint(task: FusionTask) -> dict[str, Any]:
    state = {name: value.clone() for name, value in task.state_dict().items()}
    checkpoint: dict[str, Any] = {"state_dict": state, "hyper_parameters": dict(task.hparams)}
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
    other.trained_pictures.ids |= {7, 8}
    transfer = initialise_from(task, _checkpoint(other))
    assert task.learnt_from().ids == {7, 8}
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


def test_parts_with_files_of_their_own_are_left_alone() -> None:
    other, task = _task(1), _task(2)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    transfer = initialise_from(task, _checkpoint(other), keep=["learner"])
    assert (transfer.taken, transfer.fresh) == (("network", "part"), ())
    assert _equal(task.state_dict(), before, "learner")
    detection = DetectionTask(["person"], detector=DETECTOR)
    with pytest.raises(CheckpointMismatchError, match=r"has of part comes from a file of its own: give one of both"):
        initialise_from(detection, _checkpoint(DetectionTask(["person"], detector=DETECTOR)), keep=["part"])


def _stepped(classes: tuple[str, ...], **changes: Any) -> DetectionTask:
    """A task whose detector, its average and its count are all different from what they began with."""
    task = DetectionTask(classes, detector=replace(DETECTOR, **changes))
    with torch.no_grad():
        for step in range(2):
            for parameter in task.part.detector.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter)) if parameter.requires_grad else None
            task.part.update_average() if step == 0 else None
    return task


def _rows(task: DetectionTask, tensor: str, average: bool) -> Tensor:
    prefix = "part.average.module" if average else "part.detector"
    rows: Tensor = task.state_dict()[f"{prefix}.model.model.24.cv3.1.2.{tensor}"]
    return rows


@pytest.mark.parametrize("architecture", ["yolov5n", "ssdlite320"])
@pytest.mark.parametrize("classes", [("car", "lamp", "Person"), ("car",), tuple(f"class {i}" for i in range(90))])
def test_a_detector_of_other_classes_gives_all_but_their_rows(classes: tuple[str, ...], architecture: str) -> None:
    torch.manual_seed(0)
    other, task = _stepped(("person", "car"), architecture=architecture), _stepped(classes, architecture=architecture)
    untrained = {name: value.clone() for name, value in task.state_dict().items()}
    given, count = other.state_dict(), int(task.part.average.n_averaged)  # type: ignore[union-attr]
    transfer = initialise_from(task, _checkpoint(other))
    new = [name for name in classes if name.lower() not in ("person", "car")]
    assert transfer == (("part",), (f"part (classes {', '.join(new)})",) if new else (), ())
    taken = task.state_dict()
    differ = {name for name, value in taken.items() if given[name].shape != value.shape}
    differ |= {name for name in set(taken) - differ if not torch.equal(taken[name], given[name])}
    assert {name for name in differ if not _CLASS_ROWS.search(name)} <= {"part.average.n_averaged"}
    assert int(task.part.average.n_averaged) == count  # type: ignore[union-attr]
    if architecture == "ssdlite320":
        return
    for tensor, average in (("weight", False), ("bias", False), ("weight", True), ("bias", True)):
        mine, theirs = _rows(task, tensor, average), _rows(other, tensor, average)
        for index, name in enumerate(classes):
            if name.lower() in ("person", "car"):
                assert torch.equal(mine[index], theirs[("person", "car").index(name.lower())])
            else:  # the average begins where the detector does
                assert torch.equal(mine[index], _rows(task, tensor, not average)[index])
                assert untrained[f"part.detector.model.model.24.cv3.1.2.{tensor}"].shape[1:] != mine.shape[1:] or (
                    torch.equal(mine[index], untrained[f"part.detector.model.model.24.cv3.1.2.{tensor}"][index])
                )


def test_a_detector_of_the_same_classes_in_another_order_is_taken_by_name() -> None:
    torch.manual_seed(0)
    other, task = _stepped(("person", "car", "bus")), _stepped(("bus", "person", "car"))
    assert initialise_from(task, _checkpoint(other)) == (("part",), (), ())
    assert torch.equal(_rows(task, "weight", average=False), _rows(other, "weight", average=False)[[2, 0, 1]])
    refusing = _stepped(("bus", "person", "car"), reuse_classes=False)
    assert initialise_from(refusing, _checkpoint(other)).fresh == ("part (classes bus, person, car)",)


def test_a_detector_of_another_size_and_other_classes_is_refused() -> None:
    with pytest.raises(CheckpointMismatchError, match="checkpoint's detector weights are of another network"):
        initialise_from(_stepped(("car",)), _checkpoint(_stepped(("person",), architecture="yolov5s")))


def test_other_sizes_are_refused_and_nothing_changes() -> None:
    task = _task(2)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match=r"network\..* is \(24, .* there and \(12, "):
        initialise_from(task, _checkpoint(_task(1, channels=8)))
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_another_method_or_nothing_shared_is_refused() -> None:
    checkpoint = _checkpoint(_task(1))
    with pytest.raises(CheckpointMismatchError, match=r"one of ivif\.lightning_modules\.mgfusion\.MGFusionTask"):
        initialise_from(_task(2), checkpoint | {"task": "ivif.lightning_modules.mgfusion.MGFusionTask"})
    with pytest.raises(CheckpointMismatchError, match="shares no part"):
        initialise_from(_task(2), checkpoint | {"state_dict": {"body.weight": torch.zeros(1)}})


def test_prompts_of_another_encoder_are_refused() -> None:
    checkpoint = _checkpoint(_task(1))
    checkpoint["frozen_parts"] = {"learner.prompts.encoder": "ViT-B-32:openai@0123456789ab"}
    with pytest.raises(FrozenPartMismatchError, match="ViT-B-32:openai@0123456789ab"):
        initialise_from(_task(2), checkpoint)
    assert initialise_from(_task(2, prompts=None), checkpoint).taken == ("network", "part")
