"""Rules without weights on the pretend device."""

from pathlib import Path

import pytest
import torch

from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.models.classic import CLASSIC_FUSIONS
from ivif.testing.batches import MadeData, make_batch, quiet_trainer
from tests.pretend_gpu.trainers import gpu_trainer


@pytest.mark.parametrize("rule", CLASSIC_FUSIONS)
def test_a_rule_fuses_as_on_the_cpu(rule: str, gpu: torch.device) -> None:
    batch = make_batch(2, (48, 56))
    planes = [batch["infrared"], batch["visible"][:, :1]]
    fused = CLASSIC_FUSIONS[rule](*(plane.to(gpu) for plane in planes))
    assert fused.device == gpu
    assert torch.equal(fused.cpu(), CLASSIC_FUSIONS[rule](*planes))


def test_its_task_predicts(gpu: torch.device, tmp_path: Path) -> None:
    """Pictures of two sizes; the task has no parameter that would say where it is."""
    pictures = []
    for trainer in (gpu_trainer, quiet_trainer):
        outputs = trainer(tmp_path).predict(ClassicFusionTask("contourlet"), MadeData())
        assert outputs is not None
        pictures.append([output["fused"].cpu() for loader in outputs for output in loader])
    assert len(pictures[0]) == 5
    assert all(torch.equal(one, other) for one, other in zip(*pictures, strict=True))
