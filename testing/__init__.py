"""Tests that every method passes: a test class inherits them, and says how its network or task is built.

    from ivif.testing import MethodTests

    class TestTinyFusion(MethodTests):
        config = "tiny.yaml"

        def task(self):
            return TinyFusionTask(channels=4)

`NetworkTests` are those of a network alone, `TaskTests` of its task, `ProcessTests` of its training in two processes,
`ConfigurationTests` of its files and the command line; `MethodTests` are the last three together.
"""

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("ivif.testing needs pytest: python -m pip install pytest", name="pytest") from error

pytest.register_assert_rewrite(
    *(f"ivif.testing.{name}" for name in ("configurations", "networks", "processes", "tasks"))
)

from ivif.testing.batches import make_batch, make_sample, quiet_trainer  # noqa: E402 - after the line above
from ivif.testing.configurations import ConfigurationTests  # noqa: E402
from ivif.testing.networks import NetworkTests  # noqa: E402
from ivif.testing.processes import ProcessTests  # noqa: E402
from ivif.testing.tasks import TaskTests  # noqa: E402


class MethodTests(TaskTests, ProcessTests, ConfigurationTests):
    """What a method with a task and a configuration file is tested for."""


__all__ = [
    "ConfigurationTests",
    "MethodTests",
    "NetworkTests",
    "ProcessTests",
    "TaskTests",
    "make_batch",
    "make_sample",
    "quiet_trainer",
]
