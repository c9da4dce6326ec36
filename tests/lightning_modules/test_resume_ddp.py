"""Two processes resume as exactly as one, and leave out the same batches."""

from pathlib import Path

import pytest
import torch

from ivif.lightning_modules.non_finite import SKIPPED
from ivif.testing.processes import run_python
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
    run_python(SCRIPT, "whole", tmp_path / "whole", kind, 0, 0)
    run_python(SCRIPT, "stop", tmp_path / "resumed", kind, step, workers)
    messages = [(tmp_path / "resumed" / f"ended{number}").read_text(encoding="utf-8") for number in range(2)]
    assert messages == ["Training was stopped by a test."] * 2  # the first, which nobody asked, knows why
    run_python(SCRIPT, "resume", tmp_path / "resumed", kind, 0, workers)
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []
    for number in range(2):
        states = [torch.load(tmp_path / run / f"rank{number}.pt", weights_only=True)[0] for run in ("whole", "resumed")]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.slow
def test_both_processes_leave_out_what_one_cannot_use(tmp_path: Path) -> None:
    run_python(SCRIPT, "skip", tmp_path, "mgfusion", 1, 0)
    (first, noted), (second, also) = (
        torch.load(tmp_path / f"rank{number}.pt", weights_only=True) for number in range(2)
    )
    assert float(noted[SKIPPED]) == float(also[SKIPPED]) == 1
    assert all(torch.allclose(value, second[name], atol=1e-6) for name, value in first.items())


@pytest.mark.slow
@pytest.mark.parametrize("broken", [0, 1])
def test_a_loss_that_is_no_number_ends_both_processes_at_once(broken: int, tmp_path: Path) -> None:
    run_python(SCRIPT, "break", tmp_path, "mgfusion", broken, 0, timeout=120)
    own, other = ((tmp_path / f"ended{rank}").read_text(encoding="utf-8") for rank in (broken, 1 - broken))
    assert own.startswith("The training loss is not finite at step 1 (gradient=inf, ")
    assert other.startswith("The training loss is not finite at step 1 on another process. Lower schedule.peak")
