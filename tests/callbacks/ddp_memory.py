"""Two processes of which one, or both together, lack memory; run by test_memory_guard.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import os
import socket

from ivif.callbacks import memory_guard
from ivif.callbacks.memory_guard import MemoryGuard, NotEnoughMemoryError
from ivif.contracts.batch import BatchSize
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing.batches import MadeData, quiet_trainer


class SizedData(MadeData):
    """Says how large its batches are."""

    def largest_batch(self, stage: str) -> BatchSize:
        return BatchSize(2, 24, 32)


def main(folder: Path, lacking: int, places: str) -> None:
    """Each needs 1000 bytes: on machines of their own one has less, on one machine both have 1500."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    free = 1500 if places == "together" or rank != lacking else 500
    memory_guard.free_memory = lambda *_: free  # type: ignore[attr-defined]
    if places == "apart":
        socket.gethostname = lambda: f"machine{rank}"
    FusionTask.estimate_memory = lambda *_, **__: 1000  # type: ignore[method-assign]
    task = MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    trainer = quiet_trainer(folder, max_steps=1, devices=2, strategy="ddp", callbacks=[MemoryGuard()])
    try:
        trainer.fit(task, SizedData())
    except NotEnoughMemoryError as ended:
        (folder / f"ended{rank}").write_text(str(ended), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
