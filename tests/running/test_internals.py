"""What a new release of Lightning must pass: each function of the door does on a real trainer what it says."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ivif.running import internals
from ivif.running.command_line import PreparedCLI
from ivif.testing.batches import quiet_trainer

Place = tuple[int, int]


class _Line(LightningModule):
    """One weight, five batches in each epoch; notes the epoch and number of each batch that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.trained: list[Place] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trained.append((self.current_epoch, batch_idx))
        self.log("train/loss", 0.5)
        loss: Tensor = self.layer(batch).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/score", float(self.current_epoch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.rand(5, 1))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.rand(1, 1))  # type: ignore[arg-type]


class _TwoOptimizers(_Line):
    """Steps twice in each batch, along its own optimisation."""

    def __init__(self, counted: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.counted = counted

    def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
        optimizers: list[LightningOptimizer] = self.optimizers()  # type: ignore[assignment]
        for optimizer in optimizers:
            if not self.counted:
                internals.leave_out_of_count(optimizer)
            optimizer.zero_grad()
            self.manual_backward(self.layer(batch).sum())
            optimizer.step()
        if not self.counted:
            internals.count_iteration(self.trainer)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), 0.1), torch.optim.SGD(self.parameters(), 0.1)]


class _At(Callback):
    """Calls a function at hooks, and keeps what it gives as (hook, value)."""

    def __init__(self, look: Callable[[Trainer], Any], *hooks: str) -> None:
        self.seen: list[tuple[str, Any]] = []
        for hook in hooks:
            setattr(self, hook, lambda trainer, *_, hook=hook: self.seen.append((hook, look(trainer))))

    @property
    def values(self) -> list[Any]:
        return [value for _, value in self.seen]


def _fit(folder: Path, *callbacks: Callback, module: LightningModule | None = None, **options: Any) -> Trainer:
    settings = {"max_epochs": 2, "limit_val_batches": 0, "log_every_n_steps": 1, "num_sanity_val_steps": 0} | options
    resume = settings.pop("resume", None)
    trainer = quiet_trainer(folder, callbacks=list(callbacks), **settings)
    trainer.fit(module or _Line(), ckpt_path=resume, weights_only=True)
    return trainer


def test_steps_are_counted_as_the_last_thing_of_a_batch(tmp_path: Path) -> None:
    counts = _At(internals.counted_steps, "on_train_batch_start", "on_train_batch_end")
    _fit(tmp_path, counts, max_epochs=1)
    assert counts.values == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("counted", "steps"), [(True, 20), (False, 10)])
def test_an_iteration_of_two_optimizers_counts_once(counted: bool, steps: int, tmp_path: Path) -> None:
    assert _fit(tmp_path, module=_TwoOptimizers(counted)).global_step == steps


def test_the_epoch_trained_last_is_known_at_every_hook(tmp_path: Path) -> None:
    hooks = ("on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end", "on_train_end")
    epochs = _At(lambda trainer: (internals.trained_epochs(trainer), trainer.current_epoch), *hooks)
    _fit(tmp_path, epochs, limit_train_batches=1)
    assert epochs.values == [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 2)]


def test_between_batches_no_gradient_waits(tmp_path: Path) -> None:
    resting = _At(internals.between_batches, "on_train_epoch_start", "on_train_batch_start", "on_train_end")
    _fit(tmp_path, resting, accumulate_grad_batches=2, max_epochs=1)
    assert resting.values == [True, True, False, True, False, True, True]


def test_a_batch_that_could_not_be_loaded_has_not_begun(tmp_path: Path) -> None:
    class _Failing(_Line):
        def __init__(self, loads: int, steps: int) -> None:
            super().__init__()
            self.loads, self.steps = loads, steps

        def train_dataloader(self) -> DataLoader[Tensor]:
            return DataLoader(range(5), collate_fn=self._load)  # type: ignore[arg-type]

        def _load(self, indices: list[int]) -> Tensor:
            return torch.rand(1, 1) if indices[0] < self.loads else self._fail()

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) if batch_idx < self.steps else self._fail()

        def _fail(self) -> Any:
            raise RuntimeError("made to fail")

    before = _At(internals.counted_steps, "on_train_batch_start")
    for module, begun in ((_Failing(3, 9), False), (_Failing(9, 3), True)):
        ends = _At(lambda trainer: internals.no_batch_begun(trainer, before.values[-1]), "on_exception")
        with pytest.raises(RuntimeError, match="made to fail"):
            _fit(tmp_path, before, ends, module=module)
        assert ends.values == [not begun]


class _SavesAt(Callback):
    """Saves once, just before a batch, an epoch or inside a validation, as the suite's checkpoints do."""

    def __init__(self, path: Path, hook: str, place: Place) -> None:
        self.path, self.place, self.validating = path, place, "validation" in hook
        setattr(self, hook, self._look)

    def _look(self, trainer: Trainer, module: Any, *_: Any) -> None:
        if not self.path.exists() and len(module.trained) == self.place[0] * 5 + self.place[1]:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        internals.settle(checkpoint, self.validating)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        internals.begin_epoch_anew(trainer)


@pytest.mark.parametrize("length", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 15}])
@pytest.mark.parametrize(
    ("hook", "place"),
    [
        ("on_train_batch_start", (0, 2)),
        ("on_train_epoch_start", (1, 0)),
        ("on_train_batch_start", (1, 4)),
        ("on_validation_batch_start", (2, 0)),
    ],
)
def test_a_settled_checkpoint_goes_on_with_the_next_batch(
    hook: str, place: Place, length: dict[str, int], tmp_path: Path
) -> None:
    path, length, done = tmp_path / "place.ckpt", length | {"limit_val_batches": 1}, place[0] * 5 + place[1]
    whole, first = _Line(), _At(lambda trainer: trainer.global_step, "on_validation_end")
    _fit(tmp_path, _SavesAt(path, hook, place), first, module=whole, **length)
    assert torch.load(path, weights_only=True)[internals.STEPS_KEY] == done
    rest, second = _Line(), _At(lambda trainer: trainer.global_step, "on_validation_end")
    begins = _At(internals.position, "on_train_start")
    trainer = _fit(tmp_path, _SavesAt(path, hook, place), second, begins, module=rest, resume=path, **length)
    assert rest.trained == whole.trained[done:]
    assert second.values == [step for step in first.values if step > done or (step == done and "validation" in hook)]
    assert begins.values == [place]
    assert (trainer.global_step, internals.counted_steps(trainer)) == (15, 15)


def test_what_earlier_steps_logged_is_forgotten(tmp_path: Path) -> None:
    class _Once(_Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            if batch_idx == 0:
                self.log("once", 1.0)
                self.log("sum", 1.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    class _Forgets(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            internals.forget_logged(trainer)

    for callbacks, logged in (([], ["1.0"] * 5), ([_Forgets()], ["1.0", "", "", "", ""])):
        logger = CSVLogger(tmp_path, "", "")
        _fit(tmp_path, *callbacks, module=_Once(), logger=logger, max_epochs=1)
        with (tmp_path / "metrics.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["once"] for row in rows if row["train/loss"]] == logged
        assert [row["sum"] for row in rows if row["sum"]] == ["1.0"]
        (tmp_path / "metrics.csv").unlink()


def test_a_module_tells_its_trainer(tmp_path: Path) -> None:
    module = _Line()
    assert internals.trainer_of(module) is None
    assert internals.trainer_of(module) is not (trainer := _fit(tmp_path, module=module, max_epochs=1))
    assert internals.trainer_of(module) is trainer


def test_the_launcher_is_known(tmp_path: Path) -> None:
    ours = SLURMEnvironment(auto_requeue=False)
    assert internals.cluster_environment(quiet_trainer(tmp_path, plugins=[ours])) is ours
    plain = internals.cluster_environment(quiet_trainer(tmp_path, strategy="ddp"))
    assert isinstance(plain, LightningEnvironment)


def test_ddp_is_told_of_parameters_and_buffers(tmp_path: Path) -> None:
    class _Tells(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            internals.allow_unused_parameters(trainer)

    def shared(trainer: Trainer) -> tuple[bool, bool]:
        network = trainer.strategy.model
        assert isinstance(network, DistributedDataParallel)
        network.require_forward_param_sync = False
        internals.share_buffers(trainer)
        return network.find_unused_parameters, network.require_forward_param_sync

    told = _At(shared, "on_train_batch_start")
    _fit(tmp_path, _Tells(), told, strategy="ddp", limit_train_batches=1, max_epochs=1)
    assert told.values == [(True, True)]
    alone = quiet_trainer(tmp_path)
    internals.allow_unused_parameters(alone)
    internals.share_buffers(alone)


class _Files(internals.CheckpointFiles):
    """Writes at the end of each validation, and removes nothing."""

    removed: list[str]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.write(trainer, internals.logged_values(trainer), ranked=self.monitor is not None)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        pass

    def on_train_epoch_end(self, *_: Any) -> None:
        pass

    def on_train_end(self, *_: Any) -> None:
        pass

    def remove(self, trainer: Trainer, path: str) -> None:
        self.removed = [*getattr(self, "removed", []), Path(path).name]


@pytest.mark.parametrize(
    ("monitor", "mode", "removed", "best"),
    [
        (None, "min", ["epoch=0-step=5.ckpt", "epoch=1-step=10.ckpt"], "epoch=2-step=15.ckpt"),
        ("val/score", "min", [], "epoch=0-step=5.ckpt"),
        ("val/score", "max", ["epoch=0-step=5.ckpt", "epoch=1-step=10.ckpt"], "epoch=2-step=15.ckpt"),
    ],
)
def test_files_are_written_when_they_are_asked_for(
    monitor: str | None, mode: str, removed: list[str], best: str, tmp_path: Path
) -> None:
    files = _Files(tmp_path, monitor=monitor, mode=mode, save_last=True, save_top_k=1)
    _fit(tmp_path, files, max_epochs=3, limit_val_batches=1, enable_checkpointing=True)
    assert getattr(files, "removed", []) == removed
    assert Path(files.best_model_path).name == best
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 15


def test_logged_values_are_copies_with_the_place(tmp_path: Path) -> None:
    trainer = _fit(tmp_path, limit_val_batches=1)
    values = internals.logged_values(trainer)
    assert {name: float(value) for name, value in values.items()} == {
        "train/loss": 0.5,
        "val/score": 1.0,
        "epoch": 1.0,
        "step": 10.0,
    }
    values["train/loss"] += 1
    assert float(trainer.callback_metrics["train/loss"]) == 0.5


class _Data(LightningDataModule):
    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size


class _CommandLine(PreparedCLI):
    def complete_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> tuple[dict[str, Any], list[Any]]:
        return config | {"max_epochs": 7}, [*callbacks, _At(lambda _: None)]


def test_the_command_line_builds_and_runs_nothing(tmp_path: Path) -> None:
    checkpoint = tmp_path / "other.ckpt"
    torch.save({"hyper_parameters": {"size": 9}}, checkpoint)
    line = ["fit", f"--ckpt_path={checkpoint}", "--data.size=4", "--trainer.logger=false"]
    cli = _CommandLine(_Line, _Data, args=line, save_config_callback=None, auto_configure_optimizers=False)
    assert (cli.option("ckpt_path"), cli.option("data").size, cli.option("nothing")) == (str(checkpoint), 4, None)
    assert isinstance(cli.built("data"), _Data)
    assert (cli.trainer.max_epochs, cli.trainer.global_step) == (7, 0)
    assert any(isinstance(callback, _At) for callback in cli.trainer.callbacks)  # type: ignore[attr-defined]
    arguments = cli.run_arguments()
    assert (arguments["model"], arguments["datamodule"]) == (cli.model, cli.datamodule)
    assert arguments["ckpt_path"] == str(checkpoint)
