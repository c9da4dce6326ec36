"""The mean over processes is the loss of their joined batches, however unevenly objects are spread."""

import json
from pathlib import Path

import pytest

from ivif.testing.processes import run_python


@pytest.mark.slow
def test_two_processes_have_the_joined_batch_s_loss_and_gradient(tmp_path: Path) -> None:
    run_python(Path(__file__).parent / "loss_in_two_processes.py", tmp_path, timeout=120)
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == ["uneven", "first only", "nowhere"]
    for case in result.values():
        assert case["terms_off"] < 1e-4 * max(case["terms"])
        assert case["gradient_off"] <= 1e-4 * case["gradient"]
    assert min(result["uneven"]["terms"]) > 0
    assert result["nowhere"]["terms"][0] == 0
