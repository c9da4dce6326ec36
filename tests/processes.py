"""What scripts of tests print, and processes that hold a folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def own_lines(output: str) -> list[str]:
    """What a script printed, without what Gloo says about its connections there (PyTorch 2.8)."""
    return [line for line in output.splitlines() if not line.startswith("[Gloo] ")]


@contextmanager
def holder_of(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a folder (`ivif.commands.train.run_folder`) until it is killed, at the end at the latest."""
    hold = f"import pathlib, ivif.commands.train.run_folder as own; own.lock_run_folder(pathlib.Path({str(folder)!r}))"
    wait = "print('held', flush=True); import time; time.sleep(60)"
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", f"{hold}; {wait}"], cwd=root, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()
