"""What every fusion task does, whatever its network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import LightningDataModule
from torch import Tensor

from ivif.contracts.batch import Batch, StepOutput
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection_sources import load_fusion
from ivif.lightning_modules.level_task import LevelTask
from ivif.models.layers.frozen import FrozenModule
from ivif.testing.batches import MadeData, make_batch, quiet_trainer
from ivif.testing.networks import SIZES
from ivif.testing.parameters import ParametrizedTests


class TaskTests(ParametrizedTests):
    """Tests of a task, built anew with equal weights for each; a subclass gives `task`."""

    steps: ClassVar[int] = 2
    """How long the runs of these tests are."""

    not_always_reached: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of trained parameters that a batch may leave without a gradient."""

    def task(self) -> FusionTask:
        """A small task with the same weights at each call."""
        raise NotImplementedError

    def batch(self, count: int = 2, size: tuple[int, int] = (24, 32)) -> Batch:
        """What a step of training or evaluation takes; the same at each call with the same arguments."""
        return make_batch(count, size)

    def data(self) -> LightningDataModule:
        """What the runs of these tests train on."""
        return MadeData()

    def loss(self, task: FusionTask, batch: Batch) -> Tensor:
        """What training lowers: the loss of a batch, or of all levels together."""
        if not isinstance(task, LevelTask):
            return task.batch_loss(batch).value
        seen = task.level_batch(batch)
        return torch.stack([task.level_loss(level, seen).value for level in task.level_modules()]).sum()

    def parameters(self) -> dict[str, Sequence[Any]]:
        """Sizes of pictures."""
        return super().parameters() | {"size": SIZES}

    def test_fuses_pictures_of_any_size(self, size: tuple[int, int]) -> None:
        output = _fused(self.task(), self.batch(1, size))
        assert output["fused"].shape == (1, 3, *size)
        assert output["fused_luma"].shape == (1, 1, *size)
        assert 0.0 <= output["fused"].min() <= output["fused"].max() <= 1.0

    def test_a_gradient_reaches_what_is_trained_and_nothing_else(self) -> None:
        task = self.task().train()
        named = dict(task.named_parameters())
        frozen = [part for part in task.modules() if isinstance(part, FrozenModule)]
        assert not any(own.requires_grad for part in frozen for own in part.parameters())
        trained = [name for name, own in named.items() if own.requires_grad]
        loss = self.loss(task, self.batch())
        gradients = torch.autograd.grad(loss, [named[name] for name in trained], materialize_grads=True)
        without = [name for name, found in zip(trained, gradients, strict=True) if not found.any()]
        assert [name for name in without if not name.startswith(self.not_always_reached)] == []

    def test_a_checkpoint_alone_gives_equal_pictures(self, tmp_path: Path) -> None:
        task = self.task()
        before = {name: value.clone() for name, value in task.state_dict().items()}
        trainer = quiet_trainer(tmp_path, max_steps=self.steps, limit_val_batches=0)
        trainer.fit(task, self.data())
        assert any(not torch.equal(value, before[name]) for name, value in task.state_dict().items())
        trainer.save_checkpoint(tmp_path / "task.ckpt")
        again, identity = load_fusion(tmp_path / "task.ckpt")
        assert identity.startswith(f"{type(task).__module__}.{type(task).__qualname__}@")
        batch = self.batch()
        assert torch.equal(_fused(again, batch)["fused"], _fused(task, batch)["fused"])

    def test_half_precision_trains(self, tmp_path: Path) -> None:
        task = self.task()
        before = {name: value.clone() for name, value in task.state_dict().items()}
        trainer = quiet_trainer(tmp_path, max_steps=self.steps, limit_val_batches=0, precision="bf16-mixed")
        trainer.fit(task, self.data())
        assert any(not torch.equal(value, before[name]) for name, value in task.state_dict().items())
        assert all(value.isfinite().all() for value in task.state_dict().values())


@torch.no_grad()
def _fused(task: FusionTask, batch: Batch) -> StepOutput:
    return task.eval().fuse(batch)
