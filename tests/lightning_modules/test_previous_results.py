"""The store of last epoch's results: what is written, and that training reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image

from ivif.contracts.run_files import STORE_RECORD, set_aside
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.previous_results import PreviousResults
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import quiet_trainer


class _Seen(Callback):
    def __init__(self) -> None:
        self.previous: list[torch.Tensor | None] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.previous.append(batch.get("previous"))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_reads_what_the_last_one_left(workers: int, tmp_path: Path) -> None:
    folder, seen = tmp_path / "previous", _Seen()
    network = MGFusionConfig(channels=8, heads=2, blocks=1, use_cii=False, use_cff=False)
    data = SyntheticDataModule(
        train_length=2,
        size=(32, 40),
        loading=LoadingConfig(batch_size=2, num_workers=workers),
        transforms=TransformConfig(crop=None, flip=False, rotate90=False),
        previous_dir=folder,
    )
    task = MGFusionTask(network=network)
    trainer = quiet_trainer(tmp_path, max_epochs=2, limit_val_batches=0, callbacks=[PreviousResults(folder), seen])
    trainer.fit(task, data)
    assert json.loads((folder / STORE_RECORD).read_text()) == {"epoch": 1}
    assert json.loads((set_aside(folder, 0) / STORE_RECORD).read_text()) == {"epoch": 0}
    assert seen.previous[0] is None
    assert seen.previous[1] is not None
    assert seen.previous[1].shape == (2, 1, 32, 40)
    assert task.training
    (batch,) = (
        data.on_after_batch_transfer(batch, 0)
        for batch in data.frame_loaders("train")[0]
        if batch["name"][0].endswith("0")
    )
    with torch.no_grad():
        fused = task.eval().fuse_images(batch)[0, 0]
    stored = np.asarray(Image.open(folder / "synthetic" / f"{batch['name'][0]}.png"))
    assert np.abs(stored - (fused * 255).round().numpy()).max() <= 1
