"""The pretend device for every test of this folder, which runs in a process of its own.

What torch is told of the device it never forgets, so that it would be there for every test that follows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pretend_gpu.own_process import PLUGIN, OwnProcess

FOLDER = Path(__file__).parent
PROCESS = pytest.StashKey[OwnProcess]()


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Takes a test's reports from the process that has the device; in that process, lets pytest go on.

    Pytest asks for the tests of other folders too.
    """
    if item.config.pluginmanager.has_plugin(PLUGIN) or not item.path.is_relative_to(FOLDER):
        return None
    if PROCESS not in item.config.stash:
        ours = [own.nodeid for own in item.session.items if own.path.is_relative_to(FOLDER)]
        item.config.stash[PROCESS] = process = OwnProcess(item.config, ours)
        item.config.add_cleanup(process.end)
    hook: Any = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.config.stash[PROCESS].reports_of(item):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device, while a test runs; the CPU beside it sums in the same order, as planes are padded on a GPU."""
    from tests.pretend_gpu.device import install, present

    monkeypatch.setattr("ivif.image_ops.padding._beyond_cpu", lambda _: True)
    device = install()
    with present():
        yield device
