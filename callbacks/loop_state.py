"""The place of a run in a checkpoint, written so that Lightning's loops go on with exactly the next batch.

Lightning saves its counters in the middle of its hooks and guesses on resume which hooks had run. Some guesses are
wrong: a validation that was due after the saved batch is left out, the end of an epoch is left out or done twice, and
with `trainer.max_steps` an epoch's end counts as one more batch. Checkpoints of the suite are taken between batches,
and their counters are rewritten here to one of three states that Lightning resumes rightly:

- between two epochs: nothing of the next one has happened;
- between two batches: everything of the batches done has happened, validation after them included;
- before a validation: a stop interrupted it, so it is made again, and then the run goes on.

The names are semi-internal: lightning is pinned below 2.7, and tests/lightning_modules/test_resume.py covers them.
"""

from typing import Any, Final

from lightning import Trainer
from lightning.pytorch.loops.loop import _Loop

STEPS_KEY: Final = "logged_steps"
"""Where a checkpoint keeps the number of steps whose rows belong to it: rows of later steps are made again."""

_COUNTS: Final = ("ready", "started", "processed", "completed")


def between_batches(trainer: Trainer) -> bool:
    """Whether every gradient so far has been used, so that a checkpoint holds all that the next step needs."""
    epochs, batches = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress.current
    begun = epochs.started > epochs.completed  # type: ignore[attr-defined]
    return not begun or batches.completed % trainer.accumulate_grad_batches == 0


def counted_steps(trainer: Trainer) -> int:
    """Lightning's count of steps for loggers: the last thing it does for a batch is to raise it."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def no_batch_begun(trainer: Trainer, counted_before: int) -> bool:
    """Whether an epoch is under way, and what failed just now was no batch of it: loading one did, say.

    Args:
        trainer: Between two batches, or at the end of one.
        counted_before: `counted_steps` when the last batch began.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.current
    resting = bool(batches.ready == batches.completed < trainer.num_training_batches)
    return resting and (batches.completed == 0 or counted_steps(trainer) > counted_before)


def settle(checkpoint: dict[str, Any], validating: bool) -> None:
    """Rewrites the loops' counters, and adds `STEPS_KEY`.

    Args:
        checkpoint: What Lightning is about to write, from between two batches or from inside a validation.
        validating: Whether a validation inside training has begun and will not be finished.
    """
    fit = checkpoint["loops"]["fit_loop"]
    epochs, batches = fit["epoch_progress"], fit["epoch_loop.batch_progress"]
    own = fit["epoch_loop.state_dict"]
    done: int = batches["current"]["completed"]
    for name in ("total", "current"):
        _set(fit["epoch_loop.val_loop.batch_progress"][name], 0)
    checkpoint[STEPS_KEY] = own["_batches_that_stepped"] + int(validating)
    if not validating and (done == 0 or epochs["current"]["started"] == epochs["current"]["completed"]):
        for name in ("total", "current"):
            _set(epochs[name], epochs[name]["completed"])
            _set(batches[name], batches[name]["completed"] if name == "total" else 0)
        batches["is_last_batch"] = False
        return
    for name in ("total", "current"):
        _set(epochs[name], epochs[name]["completed"] + 1, processed=epochs[name]["completed"])
        _set(batches[name], batches[name]["completed"])
    epochs["total"]["completed"] = epochs["total"]["processed"]
    epochs["current"]["completed"] = epochs["current"]["processed"]
    if validating:
        _set(fit["epoch_loop.val_loop.batch_progress"]["total"], 1, processed=0)
        fit["epoch_loop.val_loop.batch_progress"]["total"]["completed"] = 0
        return
    batches["is_last_batch"] = False
    for name in ("total", "current"):
        batches[name]["completed"] -= 1
    own["_batches_that_stepped"] -= 1  # Lightning adds it again, because it expects to be inside `on_train_batch_end`


def begin_epoch_anew(trainer: Trainer) -> None:
    """Lets a run that resumes between two epochs begin the next one as any other; call it in `on_train_start`.

    With `trainer.max_steps` Lightning always takes a resumed epoch for a begun one.
    """
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
    if loop.is_resuming and batches.ready == 0 and epochs.started == epochs.completed:  # type: ignore[attr-defined]
        _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]


def _set(counts: dict[str, int], value: int, processed: int | None = None) -> None:
    for name in _COUNTS:
        counts[name] = value
    if processed is not None:
        counts["processed"] = processed
