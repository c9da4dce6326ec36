"""Makes the faults of `tests/mutations` one by one in a clone of what is committed: do the tests catch each?

    python scripts/test_mutations.py [--only WORDS] [--every-test]

A fault is caught if a test fails; tests that cannot be collected catch nothing. Ends with code 1 if one is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.mutations import Fault, faults  # noqa: E402

MARKS: Final = "not slow and not gpu and not cluster"
FAILED: Final = 1
"""pytest's exit code where tests ran and some failed."""


def main() -> int:
    """Tries the faults that are asked for, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name or file has these words")
    parser.add_argument("--every-test", action="store_true", help="run all of make test for each, not those it names")
    options = parser.parse_args()
    chosen = [fault for fault in faults() if options.only in fault.name or options.only in fault.file]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        _git("clone", "--quiet", str(ROOT), str(clone))
        for fault in chosen:
            start = time.perf_counter()
            fault.apply(clone)
            caught = _tests_fail(clone, ["tests"] if options.every_test else list(fault.tests))
            _git("-C", str(clone), "checkout", "--quiet", "--", fault.file)
            verdict = "caught" if caught else "MISSED"
            print(f"{verdict} in {time.perf_counter() - start:4.0f} s  {fault.file}: {fault.name}", flush=True)
            missed += [] if caught else [fault]
    return _report(chosen, missed)


def _report(chosen: list[Fault], missed: list[Fault]) -> int:
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults caught.")
    return 1 if missed or not chosen else 0


def _tests_fail(clone: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", MARKS, "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, check=False)
    if done.returncode not in (0, FAILED):
        print(done.stdout.decode(errors="replace")[-2000:])
    return done.returncode == FAILED


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
