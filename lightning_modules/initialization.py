"""Starting a run from the weights of another: one phase alone, fine-tuning, a detector that is already trained."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor

from ivif.contracts.class_paths import full_path
from ivif.contracts.trained_pictures import TrainedPictures
from ivif.lightning_modules.base import TASK_KEY, FusionTask
from ivif.lightning_modules.detector_training import DetectorPart
from ivif.models.detection import DetectorWeightsError
from ivif.models.layers.frozen import FROZEN_PARTS_KEY, CheckpointMismatchError, FrozenPartMismatchError, frozen_parts

_DETECTOR = "part"
_OF_A_RUN = ("value_network", "teacher")
"""Parts that belong to where a run stands, not to what it has learnt."""


class Transfer(NamedTuple):
    """What `initialise_from` did, by the names of a task's parts.

    Attributes:
        taken: Parts whose weights are now those of the checkpoint.
        fresh: Parts that the checkpoint does not have; `part (classes a, b)` where a detector has no rows of these.
        left: Parts of the checkpoint that the task does not have.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...]


def initialise_from(task: FusionTask, checkpoint: Mapping[str, Any], keep: Sequence[str] = ()) -> Transfer:
    """Copies the weights of every part that task and checkpoint share; the run's counters and optimisers start anew.

    Of a detector of other classes everything is taken but the rows of those that it lacks (of `reuse_classes`). It
    brings the running average of its weights along. What the checkpoint was trained on, the task was from here on.

    Args:
        task: A task as built, before training.
        checkpoint: What Lightning saved for a task of the same class.
        keep: Parts that shall stay as they are, because they have weights of their own.

    Raises:
        CheckpointMismatchError: If it is of another task, shares no part, or a shared part has other weights.
        FrozenPartMismatchError: If a shared part was trained with another frozen encoder.
        TrainedPicturesError: If its record of what it was trained on is damaged.
    """
    name = f"{type(task).__module__}.{type(task).__qualname__}"
    if full_path(str(checkpoint.get(TASK_KEY, name))) != name:
        raise CheckpointMismatchError(
            f"The checkpoint is one of {checkpoint[TASK_KEY]}, but this run trains {name}. Start from the same method."
        )
    own, given = _by_part(task.state_dict()), _by_part(checkpoint["state_dict"])
    taken = tuple(part for part in own if part in given and part not in {*_OF_A_RUN, *keep})
    if not taken:
        kept = (
            f" What the task has of {', '.join(keep)} comes from a file of its own: give one of both." if keep else ""
        )
        raise CheckpointMismatchError(
            f"The checkpoint shares no part with {type(task).__name__}: it has {', '.join(given)}, the task has "
            f"{', '.join(own)}.{kept}"
        )
    _refuse_other_encoders(task, checkpoint, taken)
    classes = _other_classes(task, checkpoint) if _DETECTOR in taken else ()
    whole = [part for part in taken if part != _DETECTOR or not classes]
    if _DETECTOR in whole:
        _detector(task).fit_heads(given[_DETECTOR])
    for part in whole:
        _refuse_other_shapes(part, _by_part(task.state_dict())[part], given[part])
    fresh = [part for part in own if part not in {*taken, *_OF_A_RUN, *keep}]
    if classes:
        fresh += _start_detector(task, given[_DETECTOR], classes)
    task.load_state_dict(
        task.state_dict() | {f"{part}.{key}": value for part in whole for key, value in given[part].items()}
    )
    task.trained_pictures.add(TrainedPictures.read(checkpoint))
    return Transfer(taken, tuple(fresh), tuple(part for part in given if part not in own and part not in _OF_A_RUN))


def _other_classes(task: FusionTask, checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The checkpoint's classes where they are not the task's."""
    there = tuple(checkpoint.get("hyper_parameters", {}).get("classes") or ())
    return there if there != _detector(task).class_names else ()


def _start_detector(task: FusionTask, state: Mapping[str, Tensor], classes: tuple[str, ...]) -> list[str]:
    """Takes a detector of other classes; returns what of it starts anew, in words."""
    part = _detector(task)
    try:
        report = part.start_from(state, classes)
    except DetectorWeightsError as error:
        raise CheckpointMismatchError(str(error)) from error
    new = [name for name in part.class_names if name not in report.reused_classes]
    return [f"{_DETECTOR} (classes {', '.join(new)})"] if new else []


def _detector(task: FusionTask) -> DetectorPart:
    return cast("DetectorPart", task.get_submodule(_DETECTOR))


def _by_part(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The entries of each child of a task; a task's own counters have no child and are left out."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, separator, rest = key.partition(".")
        if separator:
            parts.setdefault(part, {})[rest] = value
    return parts


def _refuse_other_shapes(part: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    shapes = [{key: tuple(value.shape) for key, value in entries.items()} for entries in (own, given)]
    if shapes[0] == shapes[1]:
        return
    key = next(key for key in sorted({*own, *given}) if shapes[0].get(key) != shapes[1].get(key))
    there, here = shapes[1].get(key, "nothing"), shapes[0].get(key, "nothing")
    raise CheckpointMismatchError(
        f"The checkpoint's '{part}' is another one: {part}.{key} is {there} there and {here} here. Use the sizes that "
        f"it was trained with (config.yaml in its run folder, above checkpoints/)."
    )


def _refuse_other_encoders(task: FusionTask, checkpoint: Mapping[str, Any], taken: tuple[str, ...]) -> None:
    stored = checkpoint.get(FROZEN_PARTS_KEY, {})
    for name, part in frozen_parts(task).items():
        if name.partition(".")[0] in taken and stored.get(name, part.identity) != part.identity:
            raise FrozenPartMismatchError(
                f"The checkpoint's '{name}' is {stored[name]}, but this run has {part.identity}. What was learnt with "
                f"one encoder means nothing to another: configure that one."
            )
