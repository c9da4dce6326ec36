"""The classic rules as a task."""

from pathlib import Path

import pytest
import torch

from ivif.image_ops.color import luma
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.testing.batches import MadeData, make_batch, quiet_trainer


def test_it_fuses_luma_and_keeps_the_visible_colour() -> None:
    batch = make_batch()
    output = ClassicFusionTask("average").fuse(batch)
    expected = (batch["infrared"] + luma(batch["visible"])) / 2
    assert torch.allclose(output["fused_luma"], expected)
    assert not torch.allclose(output["fused"][:, 0], output["fused"][:, 1], atol=0.01)


def test_it_has_nothing_to_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(ClassicFusionTask("maximum"), MadeData())


def test_an_unknown_rule_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="average, maximum, laplacian_pyramid, contourlet"):
        ClassicFusionTask("median")  # type: ignore[arg-type]
