"""The one door to what Lightning does not promise: names that its documentation leaves out, or marks as internal.

Each function says what it is for, and why no public name does it. `tests/running/test_internals.py` tries every one on
a real trainer: it is what a new release of Lightning must pass before `pyproject.toml` allows it. That no other file
uses such names is held by `tests/test_architecture.py`.
"""

from abc import abstractmethod
from typing import Any, Final

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

STEPS_KEY: Final = "logged_steps"
"""Where a checkpoint keeps the number of steps whose rows belong to it: rows of later steps are made again."""

_COUNTS: Final = ("ready", "started", "processed", "completed")


def counted_steps(trainer: Trainer) -> int:
    """Steps as Lightning counts them for its loggers: the last thing it does for a batch is to raise this number.

    `global_step` counts otherwise where there are several optimisers, and earlier in the batch.
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def count_iteration(trainer: Trainer) -> None:
    """Raises `trainer.global_step` by one under manual optimisation, where Lightning counts only optimisers' steps."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def leave_out_of_count(optimizer: LightningOptimizer) -> None:
    """Keeps an optimiser's steps out of `trainer.global_step`; Lightning ties the two anew at every batch."""
    optimizer._on_before_step = optimizer._on_after_step = _nothing


def trained_epochs(trainer: Trainer) -> int:
    """The number of the epoch that was trained last, from 0; `current_epoch` is the next one between two epochs."""
    epochs = trainer.fit_loop.epoch_progress.current
    begun = epochs.started > epochs.completed  # type: ignore[attr-defined]
    return max(0, epochs.completed - int(not begun))


def between_batches(trainer: Trainer) -> bool:
    """Whether every gradient so far has been used, so that a checkpoint holds all that the next step needs.

    Lightning tells no callback whether an epoch has begun, nor how many of its batches are complete.
    """
    epochs, batches = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress.current
    begun = epochs.started > epochs.completed  # type: ignore[attr-defined]
    return not begun or batches.completed % trainer.accumulate_grad_batches == 0


def no_batch_begun(trainer: Trainer, counted_before: int) -> bool:
    """Whether an epoch is under way, and what failed just now was no batch of it: loading one did, say.

    Args:
        trainer: Between two batches, or at the end of one.
        counted_before: `counted_steps` when the last batch began.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.current
    resting = bool(batches.ready == batches.completed < trainer.num_training_batches)
    return resting and (batches.completed == 0 or counted_steps(trainer) > counted_before)


def position(trainer: Trainer) -> tuple[int, int]:
    """(epoch, batches already done in it) of a trainer that starts or resumes.

    Lightning gives loaders their place only through `state_dict`s that it moves on by itself, and not under DDP.
    """
    loop = trainer.fit_loop
    epochs: Any = loop.epoch_progress.current
    if not loop.is_resuming:
        return epochs.processed, 0
    batches = loop.epoch_loop.batch_progress  # `current.ready`: `completed` is one less inside on_train_batch_end
    if batches.is_last_batch and epochs.processed < epochs.started:
        return epochs.processed + 1, 0  # saved after an epoch's last batch, before the epoch was counted
    return epochs.processed, batches.current.ready


def begin_epoch_anew(trainer: Trainer) -> None:
    """Lets a run that resumes between two epochs begin the next one as any other; call it in `on_train_start`.

    With `trainer.max_steps` Lightning always takes a resumed epoch for a begun one, and its setter insists on that.
    """
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
    if loop.is_resuming and batches.ready == 0 and epochs.started == epochs.completed:  # type: ignore[attr-defined]
        _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]


def settle(checkpoint: dict[str, Any], validating: bool) -> None:
    """Rewrites a checkpoint's loop counters so that Lightning goes on with exactly the next batch; adds `STEPS_KEY`.

    Lightning saves its counters in the middle of its hooks and guesses on resume which hooks had run. Some guesses are
    wrong: a validation that was due after the saved batch is left out, the end of an epoch is left out or done twice,
    and with `trainer.max_steps` an epoch's end counts as one more batch. Checkpoints of the suite are taken between
    batches, and get one of three states that Lightning resumes rightly:

    - between two epochs: nothing of the next one has happened;
    - between two batches: everything of the batches done has happened, validation after them included;
    - before a validation: a stop interrupted it, so it is made again, and then the run goes on.

    Args:
        checkpoint: What Lightning is about to write, from between two batches or from inside a validation.
        validating: Whether a validation inside training has begun and will not be finished.
    """
    fit = checkpoint["loops"]["fit_loop"]
    epochs, batches = fit["epoch_progress"], fit["epoch_loop.batch_progress"]
    steps = fit["epoch_loop.state_dict"]
    done: int = batches["current"]["completed"]
    for name in ("total", "current"):
        _set(fit["epoch_loop.val_loop.batch_progress"][name], 0)
    checkpoint[STEPS_KEY] = steps["_batches_that_stepped"] + int(validating)
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
    steps["_batches_that_stepped"] -= 1  # Lightning adds it again: it expects to be inside `on_train_batch_end`


def forget_logged(trainer: Trainer) -> None:
    """Forgets what earlier steps have logged, sums over an epoch excepted, where this step's values reach loggers.

    Of itself, Lightning logs each value again until the end of the epoch, and nothing public takes one back.
    """
    if not trainer._logger_connector.should_update_logs or trainer._results is None:
        return
    for result in trainer._results.values():
        if not result.meta.on_epoch:
            result.reset()


def trainer_of(module: LightningModule) -> Trainer | None:
    """The trainer that a module is attached to, if any; the public `trainer` raises an error where there is none."""
    return module._trainer


def cluster_environment(trainer: Trainer) -> ClusterEnvironment | None:
    """What the trainer knows of its launcher (SLURM, torchrun), which only single strategies tell."""
    return trainer._accelerator_connector.cluster_environment


def allow_unused_parameters(trainer: Trainer) -> None:
    """Under DDP, lets a step leave parameters unused; a built strategy can be told in no other way."""
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs["find_unused_parameters"] = True


def share_buffers(trainer: Trainer) -> None:
    """Under DDP, gives every process the first one's buffers at the next forward pass, as in automatic optimisation.

    DDP decides by the step before, where manual optimisation has told it not to synchronise.
    """
    if isinstance(trainer.strategy.model, DistributedDataParallel):
        trainer.strategy.model.require_forward_param_sync = True


class CheckpointFiles(ModelCheckpoint):
    """Lightning's names, ranks and files of checkpoints, written when a subclass says so: its hooks have no such call.

    A subclass overrides the hooks in which Lightning writes of its own accord.
    """

    def write(self, trainer: Trainer, values: dict[str, Tensor], ranked: bool) -> None:
        """Writes the ranked file, if this state is one, and `last.ckpt`.

        Args:
            trainer: Whose state.
            values: Logged values, `epoch` and `step`, which names and ranks are made of.
            ranked: Whether a `monitor` was measured for this state.
        """
        if self.monitor is None and self.save_top_k:
            self._save_none_monitor_checkpoint(trainer, values)
        elif ranked:
            self._save_topk_checkpoint(trainer, values)
        self._save_last_checkpoint(trainer, values)

    @abstractmethod
    def remove(self, trainer: Trainer, path: str) -> None:
        """Removes a file that is ranked no more; Lightning would remove whatever has that path, and all in it."""

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self.remove(trainer, filepath)


def logged_values(trainer: Trainer) -> dict[str, Tensor]:
    """A copy of all values that callbacks can see, with the `epoch` trained last and the `step`."""
    counts = {"epoch": torch.tensor(trained_epochs(trainer)), "step": torch.tensor(trainer.global_step)}
    return {name: value.clone() for name, value in trainer.callback_metrics.items()} | counts


def _set(counts: dict[str, int], value: int, processed: int | None = None) -> None:
    for name in _COUNTS:
        counts[name] = value
    if processed is not None:
        counts["processed"] = processed


def _nothing() -> None:
    """In place of Lightning's hook."""
