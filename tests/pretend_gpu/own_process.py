"""Runs these tests in a process of their own, and reports them as if they had run in this one."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Final

import pytest

PIPE: Final = "PRETEND_GPU_REPORTS"
"""Variable that tells the process of the tests where to write its reports: the number of an open file."""

PLUGIN: Final = "tests.pretend_gpu.reports"


class OwnProcess:
    """A second pytest, which has the pretend device.

    Args:
        config: This process's.
        node_ids: What it runs, in order.
    """

    def __init__(self, config: pytest.Config, node_ids: Sequence[str]) -> None:
        self.config = config
        self.output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - open until `end`
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-q", *node_ids]
        self.process = subprocess.Popen(
            command,
            cwd=config.rootpath,
            env=os.environ | {PIPE: str(writing)},
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )
        os.close(writing)
        self.lines = os.fdopen(reading, encoding="utf-8")
        self.reports: dict[str, list[pytest.TestReport]] = {}

    def reports_of(self, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports of one test, as soon as it has ended; a failure where the process ended before it."""
        while not any(report.when == "teardown" for report in self.reports.get(item.nodeid, ())):
            line = self.lines.readline()
            if not line:
                return [self._never_ran(item)]
            report: Any = self.config.hook.pytest_report_from_serializable(config=self.config, data=json.loads(line))
            if report.skipped and isinstance(report.longrepr, list):
                report.longrepr = tuple(report.longrepr)  # which JSON does not have
            self.reports.setdefault(report.nodeid, []).append(report)
        return self.reports.pop(item.nodeid)

    def end(self) -> None:
        """Ends the process, which may still run tests that nobody waits for."""
        self.process.kill()
        self.process.wait()
        self.lines.close()
        self.output.close()

    def _never_ran(self, item: pytest.Item) -> pytest.TestReport:
        code = self.process.wait()
        self.output.seek(0)
        said = "".join(self.output.readlines()[-40:])
        message = f"The process of these tests ended (status {code}) before this one had run. It said:\n{said}"
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", message, "call")
