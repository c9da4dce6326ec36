"""Tiny runs of every task on the pretend device, each beside the same run on the CPU."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from benchmarks.gpu.tasks import CLASSES, DETECTOR, TINY, TRAINING
from ivif.bilevel import BilevelConfig
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.run_log import RunLog
from ivif.callbacks.throughput import Throughput
from ivif.datamodules.configuration import LoadingConfig, TransformConfig, with_clip_size
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.testing.batches import quiet_trainer
from tests.pretend_gpu.trainers import WaitsPerStep, gpu_trainer
from tests.pretend_gpu.waits import Waits

SIZE = (64, 64)


def _promptfusion() -> FusionTask:
    """Two steps of each phase; of the last six the later half refines the prompts.

    With one kind of negative examples, so that each step makes the same: test_models.py has all.
    """
    return PromptFusionTask(
        network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
        prompts=PromptsConfig(
            clip="random-tiny", length=4, kinds=("noisy",), refinement=RefinementConfig(rounds=1, share=0.5)
        ),
        phases=PhaseConfig(autoencoder=2, prompts=2, fusion=2, detector=2, bilevel=6),
        detector=DETECTOR,
        training=TRAINING,
        bilevel=BilevelConfig(unit="step", lower_steps=1, value_steps=1),
        crops=CropConfig(32, 1),
        classes=CLASSES,
    )


TASKS: dict[str, Callable[[Path], FusionTask]] = {
    **{kind: build for kind, build in TINY.items() if "without" not in kind},
    "promptfusion": lambda _: _promptfusion(),
}


def build(kind: str, folder: Path) -> FusionTask:
    """A task with the same weights each time."""
    torch.manual_seed(7)
    return TASKS[kind](folder)


def data(task: FusionTask) -> SyntheticDataModule:
    """Batches of two pairs with boxes and prompts, one pair to validate on; with the views that CLIP asks for.

    There are two batches, or one for each step of all phases.
    """
    made = SyntheticDataModule(
        train_length=28 if isinstance(task, PromptFusionTask) else 4,
        evaluation_length=1,
        size=SIZE,
        loading=LoadingConfig(batch_size=2, num_workers=0),
        transforms=TransformConfig(crop=None, resize=SIZE, flip=True, rotate90=False),
        prompts=PromptConfig("fine"),
    )
    if getattr(task, "clip_view", "crop") == "full":
        encoder: Any = task.encoder
        made.transforms = with_clip_size(made.transforms, encoder.image_size)
    return made


def callbacks() -> list[Callback]:
    """Those of every run."""
    metrics = Evaluator(metrics=["EN", "SSIM", "Qabf"], chunk=1)
    return [metrics, ImageLogger(images_per_dataset=1), GradientNorms(), DiagnosticsLogger(), Throughput()]


@dataclass(frozen=True)
class Fitted:
    """What a run on the device left.

    Attributes:
        folder: Its run folder.
        task: The task, moved back by Lightning.
        weights: Its state on the CPU.
        reference: The state after the same run on the CPU.
        scores: What it logged last.
        reference_scores: What the run on the CPU logged last.
        steps: What the host waited for in each step.
    """

    folder: Path
    task: FusionTask
    weights: dict[str, Tensor]
    reference: dict[str, Tensor]
    scores: dict[str, float]
    reference_scores: dict[str, float]
    steps: list[Waits]


@cache
def fitted(kind: str) -> Fitted:
    """Both runs of a task; made once for all tests that look at them."""
    folder = Path(tempfile.mkdtemp(prefix="pretend_gpu_"))
    counting = WaitsPerStep()
    task, trainer = _fit(kind, folder / "device", gpu_trainer, counting)
    reference, reference_trainer = _fit(kind, folder / "host", quiet_trainer)
    return Fitted(
        folder / "device",
        task,
        state(task),
        state(reference),
        _scores(trainer),
        _scores(reference_trainer),
        counting.steps,
    )


def state(task: FusionTask) -> dict[str, Tensor]:
    """A task's weights on the CPU."""
    return {name: value.cpu() for name, value in task.state_dict().items()}


def _fit(kind: str, folder: Path, trainer: Callable[..., Trainer], *more: Callback) -> tuple[FusionTask, Trainer]:
    task = build(kind, folder)
    made = trainer(
        folder,
        callbacks=[*more, *callbacks()],
        logger=RunLog(folder),
        log_every_n_steps=50,  # a step that logs must look at what it logs
        num_sanity_val_steps=0,
        max_epochs=1 if kind == "promptfusion" else 2,
    )
    made.fit(task, data(task))
    return task, made


def _scores(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if not name.startswith("perf/")}
