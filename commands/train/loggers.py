"""Which loggers a run has: always `metrics.csv`, and the dashboards that the configuration or `--wandb` asks for."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger

from ivif.callbacks.dashboards import Dashboard, LateDashboards
from ivif.callbacks.run_log import RunLog
from ivif.callbacks.wandb_run import Mode, WandbRun
from ivif.commands.train.consents import mode_of_a_file
from ivif.lightning_modules.base import FusionTask


def build_loggers(
    configured: Logger | Iterable[Logger] | bool | None,
    run_folder: Path,
    job: str,
    wandb: Mode | None = None,
    wandb_project: str | None = None,
) -> list[Logger]:
    """The loggers of a run, in its folder.

    Args:
        configured: `trainer.logger`; False means none at all, True and None only the CSV file. It comes from a file, so
            that it cannot put W&B online.
        run_folder: Where they write.
        job: The subcommand.
        wandb: `--wandb`: adds W&B where it is not configured, and sets its mode; `disabled` takes it away.
        wandb_project: `--wandb_project`.
    """
    if configured is False:
        return []
    if configured is None or configured is True:
        configured = []
    loggers = [configured] if isinstance(configured, Logger) else list(configured)
    boards = [logger for logger in loggers if isinstance(logger, WandbRun)]
    if wandb == "disabled":
        loggers = [logger for logger in loggers if logger not in boards]
    elif wandb is not None and not boards:
        boards = [WandbRun()]
        loggers += boards
    for board in boards:
        board.mode = wandb or mode_of_a_file(board.mode)
        board.project = wandb_project or board.project
    for logger in loggers:
        if isinstance(logger, Dashboard):
            logger.place(run_folder, job)
    return [RunLog(run_folder), *loggers]


def without_dashboards(loggers: Sequence[Logger]) -> list[Logger]:
    """The loggers that the trainer begins with; `LateDashboards` adds the others."""
    return [logger for logger in loggers if not isinstance(logger, Dashboard)]


def logging_callbacks(task: FusionTask, subcommand: str, loggers: Sequence[Logger]) -> list[Callback]:
    """Opens the dashboards among the loggers, and logs what a run does by itself, beside what its task does."""
    if not loggers:
        return []
    rates = subcommand == "fit" and not task.logs_learning_rates
    boards = [logger for logger in loggers if isinstance(logger, Dashboard)]
    return [LateDashboards(boards), *([LearningRateMonitor("step")] if rates else [])]
