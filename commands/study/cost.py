"""What the runs of a study take: memory of a step by the task's own estimate, time by a few first steps."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

from lightning import Callback, Trainer

from ivif.commands.errors import readable
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.study.folds import FOLDS
from ivif.commands.study.planned import AFTER, PlannedRun
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.files.errors import UserError

WARM_UP: Final = 1
"""Steps that are not counted: the first one allocates, compiles and opens files."""
COUNTED: Final = 4
GIB: Final = 2**30


@dataclass(frozen=True)
class Cost:
    """What a fit takes on this machine.

    Attributes:
        memory: Bytes of its largest training step beside the weights; None where that is not known.
        seconds: Of all its steps, without validation and tests, if they go on as the first; None if not measured.
        problem: Why it is not known, in a line.
    """

    memory: int | None = None
    seconds: float | None = None
    problem: str = ""

    def __str__(self) -> str:
        """For people."""
        if self.problem:
            return f"cannot be built here: {self.problem}"
        memory = "memory not known" if self.memory is None else f"{self.memory / GIB:.1f} GiB a step"
        if self.seconds is None:
            return memory
        unit, name = (3600, "h") if self.seconds >= 3600 else (60, "min") if self.seconds >= 60 else (1, "s")
        return f"{memory}, {self.seconds / unit:.1f} {name} of steps"


def costs(runs: Iterable[PlannedRun], measures: bool) -> dict[str, Cost]:
    """What each run's fit takes, by name; runs that differ in seed and fold alone are looked at once.

    Args:
        runs: Of a study; folders of pictures take nothing.
        measures: Whether to train for a few steps.
    """
    found: dict[tuple[str, ...], Cost] = {}
    by_name = {}
    for run in runs:
        if run.kind == "run":
            words = tuple(word for word in run.arguments if not _is_of_one_run(word))
            if words not in found:
                found[words] = _cost(words, measures)
            by_name[run.name] = found[words]
    return by_name


def _is_of_one_run(word: str) -> bool:
    return word.startswith("--seed_everything=") or AFTER in word or FOLDS in word


def _cost(words: Iterable[str], measures: bool) -> Cost:
    with TemporaryDirectory() as folder:
        own = [f"--runs_dir={folder}", "--run_name=cost", "--trainer.limit_val_batches=0"]
        quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
        try:
            cli = SuiteCLI.from_arguments(rewrite(["fit", *words, *own, *quiet]))
            memory = _memory(cli)
            return Cost(memory, _seconds(cli) if measures else None)
        except UserError as error:
            return Cost(problem=readable(str(error)).splitlines()[0].rstrip(":"))


def _memory(cli: SuiteCLI) -> int | None:
    task: Any = cli.model
    task.trainer = cli.trainer
    cli.trainer.strategy.connect(task)
    size = cli.datamodule.largest_batch("train")
    return None if size is None else task.estimate_memory(size[:3], True)


def _seconds(cli: SuiteCLI) -> float:
    clock = _Clock()
    cli.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    cli.trainer.fit(**cli.run_arguments())
    return clock.seconds


class _Clock(Callback):
    """Times a few steps, and then ends the fit."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._marks: list[tuple[float, int]] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Estimates all steps that the run's limits allow from those so far."""
        if trainer.global_step < WARM_UP:
            return
        self._marks.append((time.perf_counter(), trainer.global_step))
        (begun, first), (now, last) = self._marks[0], self._marks[-1]
        if last == first:
            return
        batches = len(self._marks) - 1
        limits = []
        if trainer.max_steps > 0:
            limits.append((now - begun) / (last - first) * trainer.max_steps)
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            limits.append((now - begun) / batches * trainer.num_training_batches * trainer.max_epochs)
        self.seconds = min(limits, default=float("inf"))
        trainer.should_stop = last - first >= COUNTED
