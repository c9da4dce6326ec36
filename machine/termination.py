"""SIGTERM as an end at once, as Ctrl-C is one: for commands that have nothing to save."""

import signal
import threading
from types import FrameType
from typing import Final

EXIT_TERMINATED: Final = 128 + signal.SIGTERM


class TerminatedError(KeyboardInterrupt):
    """SIGTERM has come. Lightning ends the other processes of a run for a KeyboardInterrupt alone."""


def end_when_terminated() -> None:
    """Raises `TerminatedError` where the main thread is when SIGTERM comes, over any other handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)


def _end(_: int, __: FrameType | None) -> None:
    raise TerminatedError
