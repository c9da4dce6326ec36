"""Two processes resume as exactly as one, and leave out the same batches."""

from pathlib import Path

import pytest
import torch

from lightning_modules.finite import SKIPPED
from tests.processes import run_script
from tests.resuming import differences

SCRIPT = Path(__file__).parents[1] / "ddp_resume.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "step", "workers"),
    [
        ("mgfusion", 3, 0),
        ("mgfusion", 3, 2),
        ("value_function", 2, 0),
        ("detection", 3, 0),
        ("text_to_pixels", 3, 0),
        ("promptfusion", 3, 0),
        ("promptfusion", 5, 2),
    ],
)
def test_one_asked_process_stops_both_and_both_go_on_exactly(
    kind: str, step: int, workers: int, tmp_path: Path
) -> None:
    run_script(SCRIPT, "whole", tmp_path / "whole", kind, 0, 0)
    run_script(SCRIPT, "stop", tmp_path / "resumed", kind, step, workers)
    assert {path.name for path in (tmp_path / "resumed").glob("stopped*")} == {"stopped0", "stopped1"}
    run_script(SCRIPT, "resume", tmp_path / "resumed", kind, 0, workers)
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []
    for number in range(2):
        states = [torch.load(tmp_path / run / f"rank{number}.pt", weights_only=True)[0] for run in ("whole", "resumed")]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.slow
def test_both_processes_leave_out_what_one_cannot_use(tmp_path: Path) -> None:
    run_script(SCRIPT, "skip", tmp_path, "mgfusion", 0, 0)
    (first, noted), (second, also) = (
        torch.load(tmp_path / f"rank{number}.pt", weights_only=True) for number in range(2)
    )
    assert float(noted[SKIPPED]) == float(also[SKIPPED]) == 1
    assert all(torch.allclose(value, second[name], atol=1e-6) for name, value in first.items())
