"""Where and when checkpoints are written: into the run's own folder, always between two batches."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ivif.callbacks.checkpoint_io import CheckpointWriteError
from ivif.callbacks.non_finite_pictures import NotFinitePictureError
from ivif.callbacks.stop_requests import RunStoppedError, StopRequests
from ivif.machine.termination import end_when_terminated
from ivif.running.internals import (
    CheckpointFiles,
    begin_epoch_anew,
    between_batches,
    counted_steps,
    logged_values,
    no_batch_begun,
    settle,
)

logger = logging.getLogger(__name__)


class RunCheckpoint(CheckpointFiles):
    """Lightning's ModelCheckpoint, writing to `RUN_DIR/checkpoints/` with `last.ckpt` always the newest.

    What is due at the end of a batch, a validation or an epoch is saved just before the next one begins. By then every
    hook has run and every value is logged, so a resumed run is the run that was not stopped, bit for bit. A request to
    stop (SIGTERM, SIGUSR1, SIGINT, `trainer.max_time`) saves at the same places, and ends the run.

    Args:
        every_n_train_steps: Save every so many steps; `None` saves at the end of every epoch.
        save_top_k: How many checkpoints to keep beside `last.ckpt`.
        monitor: Logged value that ranks checkpoints, once per validation; `None` keeps the newest.
        mode: Whether `monitor` is better low ("min") or high ("max").
        every_minutes: Save as often as this too.

    Raises:
        ValueError: If `every_minutes` is not positive.
    """

    def __init__(
        self,
        every_n_train_steps: int | None = None,
        save_top_k: int = 1,
        monitor: str | None = None,
        mode: str = "max",
        every_minutes: float | None = None,
    ) -> None:
        if every_minutes is not None and every_minutes <= 0:
            raise ValueError(f"checkpoint.every_minutes is {every_minutes}; it must be positive, or null for never.")
        super().__init__(
            filename="epoch{epoch:04d}-step{step:07d}",
            auto_insert_metric_name=False,
            save_last=True,
            save_top_k=save_top_k,
            monitor=monitor,
            mode=mode,
            every_n_train_steps=every_n_train_steps,
            enable_version_counter=False,
        )
        self.every_steps = every_n_train_steps or 0
        self.every_minutes = every_minutes
        self.stops = StopRequests()
        self._due = False
        self._scores: dict[str, Tensor] | None = None
        self._validating = False
        self._scores_are_logged = False
        self._step_before = 0
        self._counted_before = 0
        self._saved_step = 0
        self._began_at: int | None = None
        self._saved_at = time.monotonic()

    @property
    def state_key(self) -> str:
        """Independent of how often is saved, which a resumed run may change."""
        return f"{type(self).__qualname__}{ {'monitor': self.monitor, 'mode': self.mode} }"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Chooses the folder."""
        if self.dirpath is None:
            self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes a time limit that the run had reached before."""
        self.stops.ask_if_time_is_up(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes on where the checkpoint says; from here on, signals are requests."""
        begin_epoch_anew(trainer)
        self._saved_at = time.monotonic()
        self._step_before = self._began_at = trainer.global_step
        self.stops.listen_while_training(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Notes whether this many steps, or minutes, ask for a checkpoint."""
        steps, stepped = self.every_steps, trainer.global_step != self._step_before
        self._step_before = trainer.global_step
        self._due |= bool(steps) and stepped and trainer.global_step % steps == 0
        if self.every_minutes is not None:
            self._due |= trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.every_minutes)
        self.stops.ask_if_time_is_up(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the scores that rank this state."""
        if self.monitor is not None and not self._is_idle(trainer):
            self._scores = logged_values(trainer)
            self._due = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that an epoch asks for a checkpoint, unless steps do."""
        self._due |= self.every_steps == 0
        self.stops.ask_if_time_is_up(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what the last epoch left to be saved."""
        self._at_rest(trainer)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Saves what the last batch left to be saved; stops here, if asked to."""
        self._at_rest(trainer)
        self._counted_before = counted_steps(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No score of it is logged yet; SIGTERM ends a validation of its own at once, as a test and a prediction."""
        self._scores_are_logged = False
        if trainer.state.fn != TrainerFn.FITTING:
            end_when_terminated()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on Lightning only notes SIGTERM, which nobody looks at before the end."""
        end_when_terminated()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As `on_test_start`."""
        end_when_terminated()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, rows of it may be in the log."""
        self._scores_are_logged = True

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Stops here too, if asked to: the checkpoint then says that this validation is to be made again."""
        if self._is_idle(trainer) or not between_batches(trainer):
            return
        if reason := self.stops.agreed(trainer):
            self._validating = True
            self._stop(trainer, reason)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last checkpoint is the end of the run."""
        if not self._is_idle(trainer) and (self._due or self._saved_step != trainer.global_step):
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves what was reached when a batch could not be loaded, or a validation failed: no weight is in between.

        What was reached before is not saved again: a start that fails leaves the checkpoint that it went on from.
        Weights that fuse to NaN are not saved: the last checkpoint is the one to go back to.
        What fails between the two (a logger, say) has left rows that no checkpoint could tell from finished ones.
        """
        reported = isinstance(exception, RunStoppedError | CheckpointWriteError | NotFinitePictureError)
        if reported or not isinstance(exception, Exception) or self._is_idle(trainer):
            return
        if self._began_at in (None, trainer.global_step):
            return
        if trainer.world_size > 1 or not trainer.global_step:
            return  # the other processes may be anywhere, and saving would wait for them
        if not between_batches(trainer):
            return
        self._validating = trainer.validating
        resting = trainer.training and no_batch_begun(trainer, self._counted_before)
        if resting or (trainer.validating and not self._scores_are_logged):
            self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the place of the run so that it is resumed exactly."""
        settle(checkpoint, self._validating)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the ranks that a checkpoint names, if they are of this folder's files.

        A checkpoint is data, and what it names would be removed, or kept as the best, later.
        """
        if state_dict.get("dirpath") != self.dirpath:  # another run's, or this folder by another path
            best = state_dict.get("best_model_path")
            self.best_model_path = best if isinstance(best, str) and self._is_own(best) else ""
            return
        if not self._ranks_own_files(state_dict):
            logger.warning("The checkpoint ranks files outside of '%s'; ranking begins anew.", self.dirpath)
            return
        super().load_state_dict(state_dict)

    def _ranks_own_files(self, state: Mapping[str, Any]) -> bool:
        ranked, worst = state.get("best_k_models", {}), state.get("kth_best_model_path", "")
        if not isinstance(ranked, dict) or not all(isinstance(score, Tensor) for score in ranked.values()):
            return False
        named = [worst, state.get("best_model_path", ""), state.get("last_model_path", "")]
        own = all(isinstance(path, str) and (not path or self._is_own(path)) for path in (*named, *ranked))
        return own and (worst in ranked or not worst)

    def _is_own(self, path: str) -> bool:
        """Whether a path is that of a file in the run's own folder of checkpoints: no folder, and no link."""
        file, folder = Path(path), Path(self.dirpath or "")
        plain = file.name not in ("", "..") and not file.is_symlink() and not file.is_dir()
        return plain and file.parent.resolve() == folder.resolve()

    def remove(self, trainer: Trainer, path: str) -> None:
        """Removes one file, if it is in the run's own folder of checkpoints."""
        if trainer.is_global_zero and self._is_own(path):
            Path(path).unlink(missing_ok=True)

    def _at_rest(self, trainer: Trainer) -> None:
        if self._is_idle(trainer) or not between_batches(trainer):
            return
        if reason := self.stops.agreed(trainer):
            self._stop(trainer, reason)
        if self._due:
            self._save(trainer)

    def _is_idle(self, trainer: Trainer) -> bool:
        trying = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        return trying or trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking

    def _save(self, trainer: Trainer) -> None:
        """Writes the ranked file, if this state is one, and `last.ckpt`."""
        scores, self._scores, self._due = self._scores, None, False
        self.write(trainer, scores or logged_values(trainer), ranked=scores is not None)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def _stop(self, trainer: Trainer, reason: str) -> None:
        if trainer.global_step or self._due:
            self._save(trainer)
        raise RunStoppedError(reason, self.last_model_path or None)
