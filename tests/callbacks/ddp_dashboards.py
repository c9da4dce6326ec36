"""Tests a classic rule in two processes with every dashboard; run by test_image_logger.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from ivif.callbacks.dashboards import LateDashboards
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.tensorboard_run import TensorBoardRun
from ivif.commands.train.loggers import build_loggers
from ivif.datamodules.configuration import LoadingConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.testing.batches import quiet_trainer
from tests.callbacks.ddp_evaluation import Detecting


def main(folder: Path) -> None:
    """Both dashboards, pictures with boxes, tables and records."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("made: true\n", encoding="utf-8")
    trainer = quiet_trainer(
        folder,
        devices=2,
        strategy="ddp",
        logger=build_loggers([TensorBoardRun()], folder, "test", "offline"),
        callbacks=[Evaluator(test_metrics=["EN"], classic_rows=False), ImageLogger(), LateDashboards([])],
    )
    loading = LoadingConfig(batch_size=1, num_workers=0)
    data = SyntheticDataModule(train_length=2, evaluation_length=4, size=(48, 56), loading=loading)
    trainer.test(Detecting(), data, verbose=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
