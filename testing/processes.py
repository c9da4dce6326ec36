"""Training in two processes, and scripts in processes that end with their children."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from ivif.lightning_modules.base import FusionTask


def run_python(*arguments: object, timeout: float = 240) -> str:
    """Runs Python with these arguments, on one thread per process, and returns what it printed.

    Its own session, so that a hung process is ended with its children and nothing is left behind. It finds modules
    where this process does.

    Raises:
        AssertionError: If it ends with an error; with what it printed.
        subprocess.TimeoutExpired: If it takes longer.
    """
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    return output


def weights_of(folder: Path, processes: int, rank: int = 0) -> dict[str, torch.Tensor]:
    """The state that a process of a run of `ivif.testing.training` ended with."""
    state: dict[str, torch.Tensor] = torch.load(folder / f"rank{rank}_of_{processes}.pt", weights_only=True)
    return state


def differing(folder: Path) -> list[str]:
    """Which weights two processes ended with that differ from each other, or from those of one process.

    Steps are up to 1e-3; the order of a sum, through Adam's small denominators, is worth about 1e-5, and more in a
    value network, which takes several steps for one of the others.
    """
    first, second, alone = weights_of(folder, 2), weights_of(folder, 2, 1), weights_of(folder, 1)
    near = {name: 5e-4 if name.startswith("value_network.") else 1e-4 for name in alone}
    return [
        name
        for name, value in alone.items()
        if not torch.allclose(first[name], second[name], atol=1e-6)
        or not torch.allclose(first[name], value, atol=near[name])
    ]


class ProcessTests:
    """Tests of a task's training in several processes; a subclass gives `task` or `steady_task`."""

    def task(self) -> FusionTask:
        """A small task with the same weights at each call."""
        raise NotImplementedError

    def steady_task(self) -> FusionTask:
        """The same, without what each process draws for itself, such as random crops."""
        return self.task()

    def test_two_processes_end_as_one_on_the_joined_batch(self, tmp_path: Path) -> None:
        name = f"{type(self).__module__}:{type(self).__qualname__}"
        for processes, batch_size in ((2, 2), (1, 4)):
            run_python("-m", "ivif.testing.training", name, tmp_path, processes, batch_size)
        assert differing(tmp_path) == []
