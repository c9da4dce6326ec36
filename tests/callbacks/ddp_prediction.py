"""Predicts five generated scenes with their detections, with one or two processes; run by test_detection_files.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from ivif.callbacks.detection_files import DetectionFiles
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.datamodules.configuration import LoadingConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.testing.batches import quiet_trainer
from tests.callbacks.ddp_evaluation import Detecting


def main(folder: Path, devices: int) -> None:
    """Five is odd: one of two processes has a scene more."""
    torch.set_num_threads(1)
    data = SyntheticDataModule(
        train_length=2, evaluation_length=5, size=(48, 56), loading=LoadingConfig(batch_size=1, num_workers=0)
    )
    trainer = quiet_trainer(
        folder,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[PredictionWriter(folder / "out", boxes=DetectionFiles(yolo=True, draw=True))],
    )
    trainer.predict(Detecting(), data, return_predictions=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
