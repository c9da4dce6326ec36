"""Trains a scheme, or a whole method with all that processes draw for themselves; run by test_ddp.py."""

import sys
from pathlib import Path

import torch

from ivif.bilevel import BilevelConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.training import train
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask


def make_task(kind: str) -> FusionTask:
    """Two tiny levels under the scheme that is named; or a method with its detector and random crops, in all phases."""
    if kind == "text_to_pixels":
        return TextToPixelsTask(
            clip="random-tiny",
            network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8, codebook_update="ema"),
            detector=DetectorConfig("yolov5n", image_size=None),
            bilevel=BilevelConfig(unit="step", warmup=1),
            crops=CropConfig(32, 2),
            classes=SyntheticDataModule().classes,
        )
    if kind == "promptfusion":
        return PromptFusionTask(
            network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
            prompts=PromptsConfig(clip="random-tiny", length=4, refinement=RefinementConfig(1, 0.5)),
            phases=PhaseConfig(1, 1, 1, 1, 1),
            detector=DetectorConfig("yolov5n", image_size=None),
            bilevel=BilevelConfig(unit="step"),
            crops=CropConfig(None),
            classes=SyntheticDataModule().classes,
        )
    task = TinyBilevelTask(BilevelConfig(scheme=kind, unit="step", warmup=1, synchronise_every=1))
    task.crops = CropConfig(None)  # random crops are drawn by each process for itself
    return task


if __name__ == "__main__":
    torch.manual_seed(0)
    folder, processes, batch_size, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    train(make_task(kind), folder, processes, batch_size, epochs=5 if kind == "promptfusion" else 2)
