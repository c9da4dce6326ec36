"""Two processes end with the weights of one that sees their joined batches, whatever the scheme."""

from pathlib import Path

import pytest
import torch

from ivif.testing.processes import differing, run_python, weights_of

SCRIPT = Path(__file__).parent / "ddp_training.py"


@pytest.mark.parametrize(
    "scheme",
    [
        "value_function",
        *(pytest.param(scheme, marks=pytest.mark.slow) for scheme in ("separate", "joint", "alternate", "rank1")),
    ],
)
def test_two_processes_equal_one_on_the_joined_batch(scheme: str, tmp_path: Path) -> None:
    run_python(SCRIPT, tmp_path, 2, 2, scheme)
    run_python(SCRIPT, tmp_path, 1, 4, scheme)
    assert differing(tmp_path) == []


@pytest.mark.slow
def test_two_processes_train_one_text_to_pixels(tmp_path: Path) -> None:
    """Weights, codebook, teacher, value network and detector average are the same on both ranks."""
    run_python(SCRIPT, tmp_path, 2, 2, "text_to_pixels")
    first, second = weights_of(tmp_path, 2), weights_of(tmp_path, 2, 1)
    assert int(first["network.quantizer.updates"]) > 0
    assert int(first["teacher.count"]) == 2
    assert [name for name, value in first.items() if not torch.allclose(value, second[name], atol=1e-6)] == []


@pytest.mark.slow
def test_two_processes_train_one_promptfusion(tmp_path: Path) -> None:
    """Every phase: weights, prompts, value network, teacher, detector average and the refinement's gap."""
    run_python(SCRIPT, tmp_path, 2, 2, "promptfusion")
    first, second = weights_of(tmp_path, 2), weights_of(tmp_path, 2, 1)
    assert int(first["teacher.count"]) == 1
    assert int(first["learner.gap_batches"]) > 0
    assert 0 < abs(float(first["learner.gap"])) < 1
    assert [name for name, value in first.items() if not torch.allclose(value, second[name], atol=1e-6)] == []
