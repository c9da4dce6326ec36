"""What a released network scores on generated pairs, beside the plain rules."""

from collections.abc import Callable, Iterable, Mapping
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
    """Means over the scenes, as `score_rows` gives them. The network gets no prompt.

    Args:
        task: In evaluation mode, on the CPU.
    """
    scenes = SyntheticDataset(SCENES, SIZE, seed=0, split="test")
    batches = ((name, batch_to_float(collate([{**scenes[i], "prompt": ""}]))) for i, name in enumerate(scenes.names))
    return score_rows(batches, lambda batch: task.picture(batch)["fused"])


def score_rows(
    batches: Iterable[tuple[str, Batch]], network: Callable[[Batch], Tensor]
) -> Mapping[str, Mapping[str, float]]:
    """Means over pairs: row (`network`, then `PLAIN_ROWS`) -> metric -> value, higher is better in all.

    Args:
        batches: Names of pairs, and batches of one, of float planes in [0, 1].
        network: What the first row fuses with, (1, 3, H, W).
    """
    rules = {rule: build_source(DetectionSource(rule)) for rule in PLAIN_ROWS}
    rows: dict[str, Callable[[Batch], Tensor]] = {"network": network, **rules}
    scores = {row: FusionMetrics(METRICS) for row in rows}
    for name, batch in batches:
        for row, fuse in rows.items():
            with torch.no_grad():
                fused = fuse(batch)
            scores[row].update(fused, batch["infrared"], batch["visible"], dataset=["scenes"], name=[name])
    return {row: {name: value.item() for name, value in metric.compute().items()} for row, metric in scores.items()}
