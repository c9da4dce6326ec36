"""Two processes under one time limit, of which the second begins later; run by tests of saving."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from lightning import Callback, LightningModule, Trainer

from ivif.callbacks.stop_requests import RunStoppedError
from tests.resuming import rank, train


class Apart(Callback):
    """The second process is late at the start; every step takes a while."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits before the clock starts."""
        time.sleep(trainer.global_rank)

    def on_train_batch_end(self, *_: object) -> None:
        """Waits."""
        time.sleep(0.2)


def main(folder: Path) -> None:
    """Notes what stopped each process."""
    torch.set_num_threads(1)
    try:
        train(folder, "mgfusion", [Apart()], devices=2, strategy="ddp", max_time={"seconds": 2})
    except RunStoppedError as stopped:
        (folder / f"stopped{rank()}").write_text(stopped.reason)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
