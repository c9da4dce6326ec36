"""A fit as a trial of a search: its validation scores go into the search's record, whose pruner may end it early."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ivif.callbacks.trials import DIVERGED, PRUNED, STEPS, Trials
from ivif.files.errors import NotFiniteError, UserError

if TYPE_CHECKING:
    import optuna

TRIAL_VARIABLE: Final = "IVIF_TRIAL"
"""Environment variable by which a search tells a fit which of its trials it is: `NUMBER:FOLDER`.

No option, because it would stand in the run's configuration, and whoever repeats the run would report to the search.
"""


class MissingScoreError(UserError, ValueError):
    """A search compares its trials by a score that their validations do not log."""


def trial_reports() -> list[Callback]:
    """The callback of a fit that a search has started; none for others."""
    number, _, folder = os.environ.get(TRIAL_VARIABLE, "").partition(":")
    return [TrialReport(Path(folder), int(number))] if folder else []


class TrialReport(Callback):
    """Notes each validation's score in the record of the search, and ends training where its pruner says so.

    It ends between two validations as any training does, with its last checkpoint. That it was pruned is noted before,
    so that a kill in between does not let it go on. A loss that is no number is noted too: it is a result.

    Args:
        folder: The folder of the search.
        number: The trial.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.number = number
        self._trials: Trials | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports the score; all processes do what the first one is told.

        Raises:
            MissingScoreError: If validation logs no such score.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        pruned = self._report(trainer) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(pruned):
            trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Notes that the loss, or what was fused, is no number."""
        if isinstance(exception, NotFiniteError) and trainer.is_global_zero:
            self._trial().set_user_attr(DIVERGED, str(exception).splitlines()[0])

    def _report(self, trainer: Trainer) -> bool:
        """Whether the trial ends here."""
        trial, name, step = self._trial(), self._record().rules.score, trainer.global_step
        if name not in trainer.callback_metrics:
            known = ", ".join(sorted(each for each in trainer.callback_metrics if each.startswith("val/")))
            raise MissingScoreError(f"score: {name}: validation logs no such score. It logs {known or 'none'}.")
        score = float(trainer.callback_metrics[name])
        steps: list[int] = trial.user_attrs.get(STEPS, [])
        if step not in steps:  # else it was made again, after a kill
            steps = [*steps, step]
            trial.set_user_attr(STEPS, steps)
            if math.isfinite(score):
                trial.report(score, len(steps))
        ends = trial.should_prune() and not _is_over(trainer)
        if ends:
            trial.set_user_attr(PRUNED, step)
            rank_zero_info(f"Trial {self.number} is pruned after step {step}: {name} is {score:.6g}.")
        return ends

    def _record(self) -> Trials:
        self._trials = self._trials or Trials(self.folder)
        return self._trials

    def _trial(self) -> "optuna.Trial":
        """The trial, as the record has it now."""
        return self._record().trial(self.number)


def _is_over(trainer: Trainer) -> bool:
    """Whether training ends here anyway: what has trained to its end is not called pruned."""
    if 0 < trainer.max_steps <= trainer.global_step:
        return True
    last_epoch = trainer.max_epochs is not None and 0 < trainer.max_epochs <= trainer.current_epoch + 1
    return last_epoch and trainer.is_last_batch
