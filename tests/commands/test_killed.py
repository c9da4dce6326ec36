"""A command that is killed at any moment and resumed ends as one that was not, and leaves nothing half written."""

from pathlib import Path

import pytest

from ivif.testing.processes import run_python

SCRIPT = Path(__file__).parents[1] / "kill_command.py"


@pytest.mark.slow
def test_killed_commands_end_as_undisturbed_ones(tmp_path: Path) -> None:
    seeds = range(12)
    output = run_python(SCRIPT, tmp_path, *seeds, timeout=550)
    lines = [line for line in output.splitlines() if line.endswith(("killed", "ended"))]
    assert len(lines) == 2 * len(seeds)
    # A second kill may come too late: less is left to write, and how long that takes depends on the machine.
    assert sum(line.endswith("killed") for line in lines) >= len(seeds)
    assert any("writing killed" in line for line in lines)


@pytest.mark.slow
def test_shards_that_are_killed_are_together_the_undisturbed_whole(tmp_path: Path) -> None:
    output = run_python(SCRIPT.with_name("kill_shards.py"), tmp_path, *range(4), timeout=550)
    killed = [int(line.split()[2]) for line in output.splitlines() if " killed " in line]
    assert len(killed) == 4
    assert min(killed) >= 1
    assert sum(killed) >= 8
