"""What a released network scores on generated pairs, beside the plain rules."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from ivif.contracts.batch import Batch, batch_to_float, collate
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection_sources import DetectionSource, build_source
from ivif.metrics import FusionMetrics

METRICS: Final = ("EN", "SD", "SF", "MI", "VIF", "Qabf", "SSIM")
"""Columns of a model card."""

PLAIN_ROWS: Final = ("average", "maximum", "laplacian_pyramid")
"""Rows beside the network's."""

SCENES: Final = 8
SIZE: Final = (120, 160)
"""Test scenes of seed 0 (four times of day, two of each), height and width."""


def measure(task: FusionTask) -> Mapping[str, Mapping[str, float]]:
    """Means over the scenes: row (`network`, then `PLAIN_ROWS`) -> metric -> value, higher is better in all.

    The network gets no prompt.

    Args:
        task: In evaluation mode, on the CPU.
    """
    rules = {rule: build_source(DetectionSource(rule)) for rule in PLAIN_ROWS}
    rows: dict[str, Callable[[Batch], Tensor]] = {"network": lambda batch: task.picture(batch)["fused"], **rules}
    scores = {row: FusionMetrics(METRICS) for row in rows}
    scenes = SyntheticDataset(SCENES, SIZE, seed=0, split="test")
    for index, name in enumerate(scenes.names):
        batch = batch_to_float(collate([{**scenes[index], "prompt": ""}]))
        for row, fuse in rows.items():
            with torch.no_grad():
                fused = fuse(batch)
            scores[row].update(fused, batch["infrared"], batch["visible"], dataset=["scenes"], name=[name])
    return {row: {name: value.item() for name, value in metric.compute().items()} for row, metric in scores.items()}
