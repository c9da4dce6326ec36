"""Saves the gradients of one step on each process; run by test_accumulation.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import os

import torch

from ivif.lightning_modules.level_batch import CropConfig
from tests.lightning_modules.accumulated import UnevenScenes, fit, make_task


def main(folder: Path, devices: int, batch_size: int, parts: int, kind: str) -> None:
    """Whole frames: processes draw crops for themselves. One optimiser joins batches, levels cut them."""
    torch.set_num_threads(1)
    levels = not kind.startswith(("mgfusion", "detection"))
    task = make_task(kind, parts if levels else 1, CropConfig(None))
    options = {} if levels else {"accumulate_grad_batches": parts}
    seen = fit(
        task,
        UnevenScenes(batch_size if levels else batch_size // parts),
        folder,
        devices=devices,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        **options,
    )
    torch.save(seen, folder / f"{os.environ.get('LOCAL_RANK', '0')}_of_{devices}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
