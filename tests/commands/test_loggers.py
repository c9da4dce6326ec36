"""Which loggers a run gets."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import Logger

from ivif.callbacks.run_log import RunLog
from ivif.callbacks.tensorboard_run import TensorBoardRun
from ivif.callbacks.wandb_run import Mode, WandbRun
from ivif.commands.train.loggers import build_loggers


@pytest.mark.parametrize("configured", [None, True])
def test_every_run_logs_to_a_csv_file(tmp_path: Path, configured: bool | None) -> None:
    (logger,) = build_loggers(configured, tmp_path, "fit")
    assert isinstance(logger, RunLog)
    assert Path(logger.log_dir) == tmp_path


def test_no_logger_means_none_at_all(tmp_path: Path) -> None:
    assert build_loggers(False, tmp_path, "fit", "offline") == []


@pytest.mark.parametrize(
    ("configured", "flag", "mode"),
    [
        (None, "offline", "offline"),
        (None, "online", "online"),
        (None, "disabled", None),
        (WandbRun(), None, None),
        (WandbRun("offline"), "online", "online"),
        ([TensorBoardRun(), WandbRun("online")], "offline", "offline"),
        ([TensorBoardRun(), WandbRun("online")], None, "offline"),
        (WandbRun("disabled"), None, "disabled"),
    ],
)
def test_the_flag_adds_wandb_or_sets_its_mode(
    tmp_path: Path, configured: Logger | list[Logger] | None, flag: Mode | None, mode: Mode | None
) -> None:
    loggers = build_loggers(configured, tmp_path, "fit", flag, "here")
    boards = [logger for logger in loggers if isinstance(logger, WandbRun)]
    assert len(boards) == (configured is not None or flag != "disabled")
    assert [(board.mode, board.project, board.save_dir) for board in boards] == [(mode, "here", str(tmp_path))] * len(
        boards
    )


def test_the_flag_takes_wandb_away(tmp_path: Path) -> None:
    loggers = build_loggers([WandbRun("online"), TensorBoardRun()], tmp_path, "fit", "disabled")
    assert [type(logger) for logger in loggers] == [RunLog, TensorBoardRun]
    assert isinstance(loggers[1], TensorBoardRun)
    assert loggers[1].log_dir == str(tmp_path / "tensorboard")
