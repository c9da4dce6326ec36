"""What `benchmarks/overhead.py` trains: the smallest tasks, batches that cost nothing to load, and a clock."""

import os
import time
import unittest.mock
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from lightning import Callback, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ivif.bilevel import BilevelConfig, LevelLoss
from ivif.contracts.batch import Batch, Sample
from ivif.datamodules.base import FusionDataModule, Source
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.optimization import AdamConfig, LevelConfig, WarmupDecayConfig

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


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The loss of a level."""
    return torch.stack(list(terms.values())).sum()


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
    return DataLoader(range(steps), batch_size=None, collate_fn=lambda _: batch)  # type: ignore[arg-type]


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

    def split_batch(self, batch: Batch, parts: int) -> Sequence[Batch]:  # noqa: ARG002
        """Never cut."""
        return [batch]

    def level_size(self, level: str, batch: Batch) -> int:  # noqa: ARG002
        """Pairs."""
        return len(batch["name"])

    def level_loss(self, level: str, batch: Batch) -> LevelLoss:
        """Each level's terms."""
        fused = self.fuse_images(batch)
        if level == "upper":
            return self.weighted(detection_terms(self.detector(fused)), {})
        return self.weighted(fusion_terms(fused, batch), {})


class PlainFusion(LightningModule):
    """What `TinyFusionTask` trains, without anything of this suite."""

    def __init__(self) -> None:
        super().__init__()
        self.network = fusion_network()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """The sum of both terms."""
        return total(fusion_terms(self.network(inputs(batch)), batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 1e-3)


class PlainAlternate(LightningModule):
    """What `TinyAlternateTask` trains, without anything of this suite."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.fusion, self.detector = fusion_network(), detector_network()

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """One step of each level."""
        lower, upper = self.optimizers()  # type: ignore[attr-defined]
        lower.zero_grad()
        self.manual_backward(total(fusion_terms(self.fusion(inputs(batch)), batch)))
        lower.step()
        upper.zero_grad()
        with torch.no_grad():
            fused = self.fusion(inputs(batch))
        self.manual_backward(total(detection_terms(self.detector(fused))))
        upper.step()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """Adam for each level."""
        return torch.optim.Adam(self.fusion.parameters(), 1e-3), torch.optim.Adam(self.detector.parameters(), 1e-3)


def bare_fusion(steps: int) -> Iterator[None]:
    """One optimiser by hand, a step for each `next`."""
    network = fusion_network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for batch in loader(steps):
        optimizer.zero_grad()
        total(fusion_terms(network(inputs(batch)), batch)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def bare_alternate(steps: int) -> Iterator[None]:
    """A step of fusion and one of the detector by hand for each `next`."""
    fusion, detector = fusion_network(), detector_network()
    lower, upper = (torch.optim.Adam(network.parameters(), 1e-3) for network in (fusion, detector))
    for batch in loader(steps):
        lower.zero_grad()
        total(fusion_terms(fusion(inputs(batch)), batch)).backward()  # type: ignore[no-untyped-call]
        lower.step()
        upper.zero_grad()
        with torch.no_grad():
            fused = fusion(inputs(batch))
        total(detection_terms(detector(fused))).backward()  # type: ignore[no-untyped-call]
        upper.step()
        yield


class Pair(NamedTuple):
    """Milliseconds of processor time per step in a stretch of `fit` and in one of the bare loop right after it."""

    fit: float
    bare: float


class Clock(Callback):
    """Times stretches of training steps, and after each as many steps of the bare loop.

    Args:
        loop: `bare_fusion` or `bare_alternate`.
        stretch: Steps of a stretch.
    """

    pairs: ClassVar[list[Pair]] = []

    def __init__(self, loop: str, stretch: int) -> None:
        self.loop = {"bare_fusion": bare_fusion, "bare_alternate": bare_alternate}[loop](10**6)
        self.stretch = stretch
        self.start = 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Ends a stretch, runs the bare loop, starts the next."""
        batch_idx = arguments[-1]
        if (batch_idx + 1) % self.stretch:
            return
        fitted = time.process_time() - self.start
        bare = self._bare()
        if batch_idx >= self.stretch:  # the first warms up
            self.pairs.append(Pair(1000 * fitted / self.stretch, 1000 * bare / self.stretch))
        self.start = time.process_time()

    def _bare(self) -> float:
        # Lightning's import makes every optimiser step look for a GPU; a bare loop would not have that.
        with unittest.mock.patch.dict(os.environ):
            os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
            start = time.process_time()
            for _ in range(self.stretch):
                next(self.loop)
            return time.process_time() - start
