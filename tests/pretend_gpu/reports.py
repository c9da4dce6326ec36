"""Plugin of the process that has the pretend device: hands each report to the process that started it.

`pytest -p tests.pretend_gpu.reports tests/pretend_gpu` runs the tests in the very process, for a debugger.
"""

import json
import os

import pytest

from tests.pretend_gpu.own_process import PIPE


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Starts handing over, where there is somebody to hand to."""
    if PIPE in os.environ:
        config.pluginmanager.register(_HandOver(config, int(os.environ.pop(PIPE))))


class _HandOver:
    def __init__(self, config: pytest.Config, pipe: int) -> None:
        self.config = config
        self.lines = os.fdopen(pipe, "w", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        print(json.dumps(data), file=self.lines, flush=True)
