"""A run that is killed at any moment, in the middle of writing a checkpoint too, loses nothing that was saved."""

from pathlib import Path

import pytest

from ivif.testing.processes import run_python

SCRIPT = Path(__file__).parents[1] / "kill_training.py"


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ("mgfusion", range(1, 2)),
        pytest.param("mgfusion", range(2, 20), marks=pytest.mark.slow),
        pytest.param("promptfusion", range(20, 26), marks=pytest.mark.slow),
    ],
)
def test_killed_runs_end_as_undisturbed_ones(kind: str, seeds: range, tmp_path: Path) -> None:
    output = run_python(SCRIPT, tmp_path, kind, *seeds, timeout=550)
    lines = [line for line in output.splitlines() if line.endswith(("killed", "ended"))]
    assert len(lines) == 2 * len(seeds)
    # Whether a time comes before the end depends on the machine; a file that is being written always comes.
    assert sum(line.endswith("killed") for line in lines) >= len(seeds)
    assert any("writing killed" in line for line in lines)
