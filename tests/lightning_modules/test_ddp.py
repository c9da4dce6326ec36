"""Two processes end with the weights of one that sees their joined batches."""

from pathlib import Path

import pytest
import torch

from tests.processes import run_script

SCRIPT = Path(__file__).parent / "ddp_training.py"


@pytest.mark.parametrize(
    "kind",
    [
        "mgfusion",
        "value_function",
        "promptfusion_without_chance",
        pytest.param("text_to_pixels_without_chance", marks=pytest.mark.slow),
        pytest.param("promptfusion_levels_without_chance", marks=pytest.mark.slow),
        *(pytest.param(scheme, marks=pytest.mark.slow) for scheme in ("separate", "joint", "alternate", "rank1")),
    ],
)
def test_two_processes_equal_one_on_the_joined_batch(kind: str, tmp_path: Path) -> None:
    run_script(SCRIPT, tmp_path, 2, 2, kind)
    run_script(SCRIPT, tmp_path, 1, 4, kind)
    ranks = [torch.load(tmp_path / f"rank{rank}_of_2.pt", weights_only=True) for rank in range(2)]
    single = torch.load(tmp_path / "rank0_of_1.pt", weights_only=True)
    for name, value in single.items():
        assert torch.allclose(ranks[0][name], ranks[1][name], atol=1e-6), name
        # Steps are up to 1e-3; the order of a sum, through Adam's small denominators, is worth about 1e-5, and more in
        # the value network, which takes several steps for one of the others.
        tolerance = 5e-4 if name.startswith("value_network.") else 1e-4
        assert torch.allclose(ranks[0][name], value, atol=tolerance), name


@pytest.mark.slow
def test_two_processes_train_one_text_to_pixels(tmp_path: Path) -> None:
    """Weights, codebook, teacher, value network and detector average are the same on both ranks."""
    run_script(SCRIPT, tmp_path, 2, 2, "text_to_pixels")
    first, second = (torch.load(tmp_path / f"rank{rank}_of_2.pt", weights_only=True) for rank in range(2))
    assert int(first["network.quantizer.updates"]) > 0
    assert int(first["teacher.count"]) == 2
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-6), name


def test_two_processes_train_one_promptfusion(tmp_path: Path) -> None:
    """Every phase: weights, prompts, value network, teacher, detector average and the refinement's gap."""
    run_script(SCRIPT, tmp_path, 2, 2, "promptfusion")
    first, second = (torch.load(tmp_path / f"rank{rank}_of_2.pt", weights_only=True) for rank in range(2))
    assert int(first["teacher.count"]) == 1
    assert int(first["learner.gap_batches"]) > 0
    assert 0 < abs(float(first["learner.gap"])) < 1
    assert [name for name, value in first.items() if not torch.allclose(value, second[name], atol=1e-6)] == []
