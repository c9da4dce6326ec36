"""Scripts of tests in processes of their own, which end with their children."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def run_script(script: Path, *arguments: object, timeout: float = 240) -> str:
    """Runs a Python file on one thread per process and returns what it printed.

    Its own session, so that a hung rank is ended with its children and nothing is left behind.
    """
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    return output
