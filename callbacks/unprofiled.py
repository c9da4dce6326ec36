"""A trainer's profiler that does nothing, quickly."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from lightning.pytorch.profilers import PassThroughProfiler

_NOTHING: Final = nullcontext()


class Unprofiled(PassThroughProfiler):
    """Lightning's own default enters a generator around each of its 170 hooks a step: 0.15 ms."""

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """The same empty context each time."""
        return _NOTHING
