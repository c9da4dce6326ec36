"""What `benchmarks/overhead.py` trains: the smallest tasks, batches that cost nothing to load, and a clock."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from lightning import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from datamodules.base import FusionDataModule, Source
from datamodules.datasets.batch import Batch, Sample
from lightning_modules.base import FusionTask
from lightning_modules.bilevel import BilevelConfig
from lightning_modules.bilevel_task import BilevelTask
from lightning_modules.optimization import AdamConfig, LevelConfig, WarmupDecayConfig

SIZE = 16
PAIRS = 2


def fusion_network() -> nn.Module:
    """Two convolutions."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))


def detector_network() -> nn.Module:
    """As small, above it."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))


def inputs(batch: Batch) -> Tensor:
    """Infrared beside one visible channel."""
    return torch.cat((batch["infrared"], batch["visible"][:, :1]), dim=1)


def fusion_terms(fused: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Two terms, as methods have them."""
    return {
        "infrared": (fused - batch["infrared"]).square().mean(),
        "visible": (fused - batch["visible"][:, :1]).square().mean(),
    }


def detection_terms(found: Tensor) -> dict[str, Tensor]:
    """One term."""
    return {"found": (found - 0.3).square().mean()}


def loader(steps: int) -> DataLoader[Batch]:
    """The same float batch, `steps` times."""
    torch.manual_seed(0)
    batch: Batch = {
        "infrared": torch.rand(PAIRS, 1, SIZE, SIZE),
        "visible": torch.rand(PAIRS, 3, SIZE, SIZE),
        "name": [str(index) for index in range(PAIRS)],
        "dataset": ["constant"] * PAIRS,
        "content_id": [str(index) for index in range(PAIRS)],
    }
    return DataLoader([batch] * steps, batch_size=None)  # type: ignore[arg-type]


class ConstantDataModule(FusionDataModule):
    """One batch, again and again.

    Args:
        steps: Batches per epoch.
        **kwargs: Arguments of `FusionDataModule`.
    """

    def __init__(self, steps: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps

    def sources(self) -> list[Source]:
        """None."""
        return []

    def stage_readers(self, stage: str) -> list[Dataset[Sample]]:  # noqa: ARG002 - what a datamodule is asked
        """None."""
        return []

    def setup(self, stage: str) -> None:
        """Opens nothing."""

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches."""
        return loader(self.steps)


class TinyFusionTask(FusionTask):
    """Automatic optimisation.

    Args:
        classes: Unused; the command line gives it.
    """

    def __init__(self, classes: Sequence[str] | None = None) -> None:  # noqa: ARG002
        super().__init__(AdamConfig(), WarmupDecayConfig())
        self.loss_weights = {"infrared": 1.0, "visible": 1.0}
        self.network = fusion_network()

    def fuse_images(self, batch: Batch) -> Tensor:
        """Fused luma."""
        fused: Tensor = self.network(inputs(batch))
        return fused

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Both terms."""
        return fusion_terms(fused, batch)


class TinyAlternateTask(BilevelTask):
    """Manual optimisation: one step of fusion, one of a detector on its result.

    Args:
        classes: Unused; the command line gives it.
    """

    def __init__(self, classes: Sequence[str] | None = None) -> None:  # noqa: ARG002
        scheme = BilevelConfig(scheme="alternate", unit="step", warmup=0, lower_steps=1)
        super().__init__(scheme, LevelConfig(), LevelConfig())
        self.fusion, self.detector = fusion_network(), detector_network()

    def fuse_images(self, batch: Batch) -> Tensor:
        """Fused luma."""
        fused: Tensor = self.fusion(inputs(batch))
        return fused

    def level_modules(self) -> Mapping[str, nn.Module]:
        """Both networks."""
        return {"lower": self.fusion, "upper": self.detector}

    def level_batch(self, batch: Batch) -> Batch:
        """The batch."""
        return batch

    def split_batch(self, batch: Batch, parts: int) -> Sequence[Batch]:
        """Never cut."""
        return [batch] * parts

    def level_loss(self, level: str, batch: Batch) -> Tensor:
        """Each level's terms."""
        fused = self.fuse_images(batch)
        if level == "upper":
            return self.weighted("upper", detection_terms(self.detector(fused)), {})
        return self.weighted(level, fusion_terms(fused, batch), {})


class Mark(NamedTuple):
    """A moment: seconds of wall time and of this process's processor time."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Self:
        """This moment."""
        return cls(time.perf_counter(), time.process_time())


class StepClock(Callback):
    """Notes when each training step ends."""

    marks: ClassVar[list[Mark]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Forgets an earlier run."""
        self.marks.clear()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Notes the time."""
        self.marks.append(Mark.now())
