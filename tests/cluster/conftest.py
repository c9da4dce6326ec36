"""The SLURM that all tests of this folder share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local_slurm import LocalSlurm, missing_programs

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PYTHON": sys.executable,
    "PYTHONPATH": str(ROOT),  # for the callbacks of tests.cluster.pace
    "OMP_NUM_THREADS": "1",
    "MASTER_ADDR": "127.0.0.1",  # the node's name is SLURM's own here, and resolves to nothing
}
"""What jobs are given."""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    """A SLURM of this machine alone; without its programs the test is left out."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"SLURM is not here; missing: {', '.join(missing)}")
    with LocalSlurm(tmp_path_factory.mktemp("slurm")) as local:
        yield local
