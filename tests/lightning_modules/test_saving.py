"""When checkpoints are written, and that none is where it could not be resumed exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from ivif.callbacks.non_finite_pictures import NotFinitePictureError
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_log import RunLog
from ivif.testing.processes import run_python
from tests.resuming import SimulatedError, differences, last, train

TIME_LIMIT = Path(__file__).parents[1] / "ddp_time_limit.py"


class _Diverge(Callback):
    """Weights beyond the range at the end of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            for own in pl_module.parameters():
                own.data.fill_(torch.nan)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, "mgfusion")
    return folder


@pytest.mark.parametrize(("accumulated", "saved"), [(1, [2, 4, 6, 8, 10, 12]), (2, [2, 4, 6])])
def test_every_so_many_steps_is_once_at_each(
    accumulated: int, saved: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    save = Trainer.save_checkpoint

    def noting(self: Trainer, path: str, *arguments: Any, **named: Any) -> None:
        if not path.endswith("last.ckpt"):
            written.append(self.global_step)
        save(self, path, *arguments, **named)

    monkeypatch.setattr(Trainer, "save_checkpoint", noting)
    checkpoint = RunCheckpoint(every_n_train_steps=2)
    train(tmp_path, "mgfusion", checkpoint=checkpoint, accumulate_grad_batches=accumulated, limit_val_batches=0)
    assert written == saved


@pytest.mark.parametrize("row", ["train/loss", "val/EN"])
def test_a_dashboard_that_fails_loses_only_what_came_after_the_last_checkpoint(
    row: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog.log_metrics

    def failing(self: RunLog, metrics: dict[str, Any], step: int | None = None) -> None:
        log(self, metrics, step)
        if row in metrics and step is not None and step >= 5:
            raise SimulatedError

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "log_metrics", failing)
        with pytest.raises(SimulatedError):
            train(tmp_path, "mgfusion")
    assert torch.load(last(tmp_path), weights_only=True)["global_step"] == 4
    train(tmp_path, "mgfusion", resume=last(tmp_path))
    assert differences(whole, tmp_path) == []


def test_weights_that_fuse_to_nan_replace_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NotFinitePictureError):
        train(tmp_path, "mgfusion", [_Diverge(8)])
    (kept,) = [path for path in last(tmp_path).parent.iterdir() if path.name != "last.ckpt"]
    for path in (kept, last(tmp_path)):
        stored = torch.load(path, weights_only=True)
        assert stored["global_step"] == 4
        assert all(torch.isfinite(value).all() for value in stored["state_dict"].values())


@pytest.mark.slow
def test_a_time_limit_stops_processes_that_began_apart(tmp_path: Path) -> None:
    run_python(TIME_LIMIT, tmp_path, timeout=120)
    stopped = sorted(tmp_path.glob("stopped*"))
    assert [path.name for path in stopped] == ["stopped0", "stopped1"]
    assert "trainer.max_time" in stopped[0].read_text()
    assert 0 < torch.load(last(tmp_path), weights_only=True)["global_step"] < 12
