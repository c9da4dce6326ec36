"""The record of a search: optuna's study in a file of its own, opened by the search and by the fit of each trial."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ivif.files.errors import UserError
from ivif.files.inside import read_inside
from ivif.files.libraries import needed

if TYPE_CHECKING:
    import optuna  # half a second, which no other command needs

JOURNAL: Final = "trials.journal"
"""The file, in the folder of the search: a line of JSON for each event, which is only ever added to.

A line that a kill has cut short is the last one, and goes at the next start. Its lock is a link, which network
filesystems make in one step; SQLite's locks are not to be relied on there.
"""

PRUNED: Final = "pruned"
"""What the fit of a trial notes when the pruner ends it: after how many steps."""

DIVERGED: Final = "diverged"
"""What it notes when a loss is no number: the message."""

STEPS: Final = "steps"
"""The step of each validation, in their order."""

_STUDY: Final = "search"
_RULES: Final = "rules"


class SearchRecordError(UserError, ValueError):
    """The record of a search is damaged, or that of another search."""


@dataclass(frozen=True)
class Rules:
    """How a search draws, compares and ends its trials.

    Args:
        score: The logged validation score that trials are compared by.
        mode: Whether more of it is better, or less.
        sampler: `random`, or `tpe`.
        pruner: `none`, `median` or `halving`.
        seed: Of what is drawn.
        drawn_first: Trials that `tpe` draws at random before it learns from them.
        ended_first: Finished trials that `median` waits for.
        warmup: Validations of a trial before `median` may end it.
        first: The validation at which `halving` first compares.
        factor: Of so many trials at a comparison it lets one go on, until so many times as many validations.
        digest: Of the search's file and options, by which another one is told from it.
    """

    score: str
    mode: Literal["max", "min"] = "max"
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    drawn_first: int = 10
    ended_first: int = 5
    warmup: int = 0
    first: int = 1
    factor: int = 3
    digest: str = ""

    def build_sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """What draws the settings of a trial: by its number, so that a search that was stopped draws the same."""
        import optuna

        digest = hashlib.sha256(f"{self.seed} {number}".encode()).digest()
        seed = int.from_bytes(digest[:4])
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.drawn_first)

    def build_pruner(self) -> "optuna.pruners.BasePruner":
        """What ends a trial early; a trial's validations are counted from 1."""
        import optuna

        if self.pruner == "median":
            return optuna.pruners.MedianPruner(self.ended_first, n_warmup_steps=self.warmup + 1)
        if self.pruner == "halving":
            return optuna.pruners.SuccessiveHalvingPruner(self.first, self.factor)
        return optuna.pruners.NopPruner()


class Trials:
    """The trials of a search.

    Args:
        folder: The folder of the search.
        rules: Those of the search, from the process that holds its folder; None for a fit.

    Raises:
        SearchRecordError: If the record is damaged, or missing where no search begins.
        MissingLibraryError: If optuna is not installed.
    """

    def __init__(self, folder: Path, rules: Rules | None = None) -> None:
        needed("optuna", "study search", "pip install 'ivif-lightning[search]'")
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.path = folder.resolve() / JOURNAL
        if rules is None or self.path.exists():
            self._check()
        if rules is not None and self.path.exists():
            self._repair()
        try:
            self._storage = optuna.storages.JournalStorage(JournalFileBackend(str(self.path)))
            if rules is not None:
                direction: Literal["maximize", "minimize"] = "maximize" if rules.mode == "max" else "minimize"
                study = optuna.create_study(
                    storage=self._storage, study_name=_STUDY, direction=direction, load_if_exists=True
                )
                if _RULES not in study.user_attrs:
                    study.set_user_attr(_RULES, asdict(rules))
            self.study = optuna.load_study(study_name=_STUDY, storage=self._storage)
            self.rules = Rules(**self.study.user_attrs[_RULES])
            self.study.pruner = self.rules.build_pruner()
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise self._damaged(error) from error

    def trial(self, number: int) -> "optuna.Trial":
        """A trial that is under way, to draw for or to report to."""
        import optuna

        study_id = self._storage.get_study_id_from_name(_STUDY)
        return optuna.Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def all(self) -> "list[optuna.trial.FrozenTrial]":
        """Every trial that was begun, by its number."""
        import optuna

        found = self.study.get_trials(deepcopy=False)
        return [trial for trial in found if trial.state != optuna.trial.TrialState.WAITING]

    def _repair(self) -> None:
        """Takes away a last line that a kill has cut short: what is added would be no line of its own.

        Under the lock, because a fit that a killed search has left may still be writing.
        """
        from optuna.storages.journal import JournalFileSymlinkLock

        lock = JournalFileSymlinkLock(str(self.path))
        lock.acquire()
        try:
            content = self.path.read_bytes()
            if content and not content.endswith(b"\n"):
                with self.path.open("r+b") as stream:
                    stream.truncate(content.rfind(b"\n") + 1)
        finally:
            lock.release()

    def _check(self) -> None:
        try:
            read_inside(self.path, self.path.parent)
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> SearchRecordError:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        return SearchRecordError(
            f"'{self.path}' is no record of a search that can be read: {what}. Remove '{self.path.parent}' to search "
            f"anew."
        )
