"""Trains a task on generated scenes for a few steps and saves what each rank ended with; run by test_ddp.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from lightning import Trainer

from ivif.bilevel import BilevelConfig
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.layers.quantizer import VectorQuantizer
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask, still


def make_task(kind: str) -> FusionTask:
    """A method by name, with a detector where it has one, or two tiny levels under the scheme that is named."""
    if kind == "mgfusion":
        return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    if kind.startswith("text_to_pixels"):
        return make_text_to_pixels(whole=kind == "text_to_pixels")
    if kind.startswith("promptfusion"):
        return make_promptfusion(whole=kind == "promptfusion", levels=kind == "promptfusion_levels_without_chance")
    task = TinyBilevelTask(BilevelConfig(scheme=kind, unit="step", warmup=1, synchronise_every=1))
    task.crops = CropConfig(None)  # random crops are drawn by each process for itself
    return task


def make_text_to_pixels(whole: bool) -> TextToPixelsTask:
    """With random crops and a codebook that k-means begins, or with neither: k-means depends on the vectors' order."""
    task = TextToPixelsTask(
        clip="random-tiny",
        network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8, codebook_update="ema"),
        detector=DetectorConfig("yolov5n", image_size=None),
        bilevel=BilevelConfig(unit="step", warmup=1),
        crops=CropConfig(32, 2) if whole else CropConfig(None),
        classes=SyntheticDataModule().classes,
    )
    for module in () if whole else task.modules():
        if isinstance(module, VectorQuantizer):
            module.started.fill_(True)
    return task


def make_promptfusion(whole: bool, levels: bool) -> PromptFusionTask:
    """All phases with a refinement at the end, or those of fusion or of both levels, in which no process draws."""
    phases = PhaseConfig(1, 1, 1, 1, 1) if whole else PhaseConfig(autoencoder=1, prompts=0, fusion=1, bilevel=0)
    phases = PhaseConfig(autoencoder=0, prompts=0, fusion=0, detector=1, bilevel=1) if levels else phases
    return PromptFusionTask(
        network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
        prompts=PromptsConfig(clip="random-tiny", length=4, refinement=RefinementConfig(int(whole), 0.5)),
        phases=phases,
        detector=DetectorConfig("yolov5n", image_size=None) if whole or levels else None,
        bilevel=BilevelConfig(unit="step"),
        crops=CropConfig(None),
        classes=SyntheticDataModule().classes,
    )


def main(folder: Path, devices: int, batch_size: int, kind: str) -> None:
    """Fits with BatchNorm in eval mode, so that batch statistics are the same for any number of processes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = still(make_task(kind))
    data = SyntheticDataModule(
        train_length=8,
        size=(40, 48),
        loading=LoadingConfig(batch_size=batch_size, num_workers=0),
        transforms=TransformConfig(crop=32),
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        max_epochs=5 if kind == "promptfusion" else 2,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        inference_mode=False,
        default_root_dir=folder,
    )
    trainer.fit(task, data)
    torch.save(task.state_dict(), folder / f"rank{trainer.global_rank}_of_{devices}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
