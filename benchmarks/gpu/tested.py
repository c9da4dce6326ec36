"""The part of the GPU check that runs the tests marked `gpu`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest  # noqa: F401 - its absence is named by whoever imports this part

from benchmarks.gpu.report import Report

ROOT: Final = Path(__file__).resolve().parents[2]

REHEARSAL: Final = "REHEARSE_GPU"
"""Variable by which the tests take the CPU for the GPU."""

END: Final = "GPU_CHECK_END"
"""Variable that says when no test begins any more, as `time.monotonic` counts."""


def tests(report: Report) -> None:
    """A skipped test is left out, with its reason."""
    results = report.file.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    command += ["--override-ini=addopts=", f"--junitxml={results}"]  # addopts names plugins that may be missing
    environment = (
        os.environ | {END: str(time.monotonic() + report.left)} | ({REHEARSAL: "1"} if report.rehearse else {})
    )
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode not in (0, 1) or not results.exists():
        report.fail("pytest", f"ended with status {done.returncode}")
        return
    for case in ElementTree.parse(results).iter("testcase"):  # noqa: S314 - what our own pytest has written
        name = f"{str(case.get('classname')).removeprefix('tests.gpu.')}::{case.get('name')}"
        skipped, wrong = case.find("skipped"), [*case.iter("failure"), *case.iter("error")]
        if skipped is not None:
            report.leave_out(name, str(skipped.get("message")))
        elif wrong:
            report.fail(name, str(wrong[0].get("message")).splitlines()[0])
        else:
            report.rows.append({"case": name, "seconds": float(case.get("time", 0))})
    report.write()
