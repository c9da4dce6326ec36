"""Tiny runs that are stopped somewhere and resumed, and what may not differ from a run that was not."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor

from ivif.bilevel import BilevelConfig
from ivif.callbacks.checkpoint_io import WholeFileCheckpointIO
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_log import RunLog, cut_log, read_rows
from ivif.callbacks.throughput import Throughput
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import GuidanceConfig, PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsLoss, TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.running.internals import STEPS_KEY
from ivif.testing.batches import quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "bilevel_solver", "diagnostics", STEPS_KEY)
"""What of two last checkpoints must be equal."""


class AskToStop(Callback):
    """Asks for a stop at a batch of training or of validation, as a signal does."""

    def __init__(self, step: int, where: str = "train") -> None:
        self.step = step
        self.where = where

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._ask(trainer, "train")

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._ask(trainer, "validation")

    def _ask(self, trainer: Trainer, where: str) -> None:
        if where == self.where and trainer.global_step == self.step and not trainer.sanity_checking:
            checkpoint = trainer.checkpoint_callback
            assert isinstance(checkpoint, RunCheckpoint)
            checkpoint.stops.ask("a test")


class SimulatedError(Exception):
    """Stands for whatever goes wrong in a step."""


class Fail(Callback):
    """Fails at the end of the batch that makes so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise SimulatedError


def make_task(kind: str) -> FusionTask:
    """A tiny task: `mgfusion`, `detection`, `promptfusion`, `text_to_pixels`, `memory` (its fusion alone, held near to
    stored results), or the scheme of two tiny levels.
    """
    torch.manual_seed(7)
    classes = SyntheticDataModule().classes
    detector = DetectorConfig("yolov5n", image_size=None)
    if kind == "mgfusion":
        return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    if kind == "detection":
        return DetectionTask(classes, detector=detector, training=DetectorTrainingConfig(average_ramp=2.0))
    if kind == "promptfusion":
        return _promptfusion(classes, detector)
    if kind in ("text_to_pixels", "memory"):
        return TextToPixelsTask(
            clip="random-tiny",
            network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8, codebook_update="ema"),
            loss=TextToPixelsLoss(previous="memory" if kind == "memory" else "teacher"),
            detector=None if kind == "memory" else detector,
            bilevel=BilevelConfig(unit="step", lower_steps=1, value_steps=1, warmup=1, cosine_every=3),
            crops=CropConfig(32, 2),
            classes=classes,
        )
    return TinyBilevelTask(BilevelConfig(scheme=kind, unit="step", warmup=1, cosine_every=3))


def _promptfusion(classes: Sequence[str], detector: DetectorConfig) -> PromptFusionTask:
    """Phases begin at steps 0, 2, 4, 5 and 7 of twelve; the rounds of the last at 7 and 10, refining at 8, 9 and 11.

    Of six steps, as of two processes, the fourth is the detector's alone, the fifth refines and the last trains all.
    """
    prompts = PromptsConfig(
        clip="random-tiny",
        length=4,
        guidance=GuidanceConfig(when="late", steepness=0.1),  # in about half of all steps
        refinement=RefinementConfig(rounds=2, share=0.7),
    )
    return PromptFusionTask(
        network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
        prompts=prompts,
        phases=PhaseConfig(autoencoder=2, prompts=2, fusion=1, detector=2, bilevel=5),
        detector=detector,
        training=DetectorTrainingConfig(average_ramp=2.0),
        bilevel=BilevelConfig(unit="step", lower_steps=1, value_steps=1, cosine_every=1),
        crops=CropConfig(32, 1),
        classes=classes,
    )


def train(
    folder: Path,
    kind: str,
    callbacks: Sequence[Callback] = (),
    resume: Path | None = None,
    workers: int = 0,
    checkpoint: RunCheckpoint | None = None,
    data: FusionDataModule | None = None,
    **options: Any,
) -> Trainer:
    """Three epochs of four batches, logged at every step; resumed as the command line does it."""
    transforms = (
        TransformConfig(crop=None, resize=(64, 64))
        if kind in ("detection", "promptfusion")
        else TransformConfig(crop=32)
    )
    data = data or SyntheticDataModule(
        train_length=8,
        evaluation_length=2,
        size=(64, 64),
        loading=LoadingConfig(batch_size=2, num_workers=workers),
        transforms=transforms,
        previous_dir=folder / "previous" if kind == "memory" else None,
    )
    settings: dict[str, Any] = {"max_epochs": 3, "num_sanity_val_steps": 1} | options
    logging = [DiagnosticsLogger(), Evaluator(metrics=["EN"]), Throughput(), LearningRateMonitor("step")]
    trainer = quiet_trainer(
        folder,
        enable_checkpointing=True,
        logger=RunLog(folder),
        plugins=[WholeFileCheckpointIO()],
        callbacks=[*callbacks, *logging, checkpoint or RunCheckpoint()],
        **settings,
    )
    if resume is not None and trainer.is_global_zero:
        cut_log(folder, torch.load(resume, weights_only=True)[STEPS_KEY])
    trainer.fit(make_task(kind), data, ckpt_path=resume, weights_only=True)
    return trainer


def last(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return folder / "checkpoints" / "last.ckpt"


def differences(whole: Path, resumed: Path) -> list[str]:
    """What differs between the ends of two runs: parts of their checkpoints, rows of their logs but for `perf/`."""
    first, second = (torch.load(last(folder), weights_only=True) for folder in (whole, resumed))
    found = [key for key in KEPT if not _equal(first.get(key), second.get(key))]
    rows = [_rows(folder / "metrics.csv") for folder in (whole, resumed)]
    assert len(rows[0]) > 3, "nothing to compare"
    found += [f"row {index}" for index, (one, other) in enumerate(zip(*rows, strict=False)) if one != other]
    return found + ([f"{len(rows[0])} and {len(rows[1])} rows"] if len(rows[0]) != len(rows[1]) else [])


def _rows(path: Path) -> list[dict[str, str]]:
    """A log's values without times and memory, and without rows that hold nothing else."""
    rows = [{name: value for name, value in row.items() if not name.startswith("perf/")} for row in read_rows(path)]
    return [row for row in rows if any(value for name, value in row.items() if name not in ("step", "epoch"))]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(_equal(value, second[key]) for key, value in first.items())
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


def rank() -> int:
    """This process's number among those of a run."""
    return int(os.environ.get("LOCAL_RANK", "0"))
