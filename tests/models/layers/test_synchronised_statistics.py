"""What `trainer.sync_batchnorm` gives: statistics and gradients of the joined batch. PyTorch has it on GPUs alone."""

from pathlib import Path

import pytest
import torch

from ivif.testing.processes import run_python

SCRIPT = Path(__file__).parent / "statistics_on_two_processes.py"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def _farthest(folder: Path, kind: str) -> float:
    """The largest difference of the two processes from one with both batches."""
    run_python(SCRIPT, folder, kind)
    joined, *ranks = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("joined", "rank0", "rank1"))
    floats = [name for name, value in joined.items() if value.is_floating_point()]
    assert any(name.endswith("running_var") for name in floats)
    assert any(name.startswith("gradient") for name in floats)
    return max(float((rank[name] - joined[name]).abs().max()) for rank in ranks for name in floats)


def test_synchronised_statistics_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    assert _farthest(tmp_path, "synchronised") < 1e-5


def test_otherwise_each_process_has_its_own(tmp_path: Path) -> None:
    assert _farthest(tmp_path, "alone") > 1e-3
