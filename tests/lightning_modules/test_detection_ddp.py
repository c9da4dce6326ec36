"""Two processes train one detector, and keep one average of it."""

from pathlib import Path

import pytest
import torch

from ivif.testing.processes import run_python

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "ddp_detection.py"


def _train(folder: Path, devices: int, batch_size: int, batch_norm: str) -> list[dict[str, torch.Tensor]]:
    run_python(SCRIPT, folder, devices, batch_size, batch_norm)
    return [torch.load(folder / f"rank{rank}_of_{devices}.pt", weights_only=True) for rank in range(devices)]


def test_ranks_share_weights_average_and_statistics(tmp_path: Path) -> None:
    first, second = _train(tmp_path, devices=2, batch_size=2, batch_norm="trained")
    assert first["part.average.n_averaged"] == 4
    assert any(name.endswith("running_mean") for name in first)
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-6), name


def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    first, _ = _train(tmp_path, devices=2, batch_size=2, batch_norm="frozen")
    (single,) = _train(tmp_path, devices=1, batch_size=4, batch_norm="frozen")
    for name, value in single.items():
        # Adam's first steps are as long as the learning rate, up to 1e-3, whatever the gradient's size.
        assert torch.allclose(first[name], value, atol=1e-4), name
