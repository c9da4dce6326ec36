"""Trains a detector on generated scenes for a few steps and saves what each rank ended with; run by a test."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy

from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.models.detection import DetectorConfig
from ivif.scenes import CLASSES

SIZE = (64, 96)


def main(folder: Path, devices: int, batch_size: int, freeze_batch_norm: bool) -> None:
    """Fits two epochs of two steps, each followed by a validation."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    training = DetectorTrainingConfig(average_ramp=2.0, freeze_batch_norm=freeze_batch_norm)
    task = DetectionTask(CLASSES, detector=DetectorConfig(image_size=None), training=training)
    data = SyntheticDataModule(
        train_length=8,
        evaluation_length=2,
        size=SIZE,
        loading=LoadingConfig(batch_size=batch_size, num_workers=0),
        transforms=TransformConfig(crop=None, flip=False, rotate90=False, resize=SIZE),
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        # Every parameter that needs a gradient gets one. DDP shares no statistics: that is the task's own business.
        strategy=DDPStrategy(broadcast_buffers=False) if devices > 1 else "auto",
        max_epochs=2,
        limit_val_batches=1,
        num_sanity_val_steps=0,
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
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "frozen")
