"""Asking servers that may never answer."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ivif.files.downloads import DownloadError

T = TypeVar("T")

ANSWER_SECONDS: Final = 5.0
"""How long all places together may take to say whether they have a file."""


def answers(calls: Sequence[Callable[[], T]], seconds: float = ANSWER_SECONDS) -> list[T | Exception]:
    """What several calls give, made at once; those that take too long are left behind.

    A name server that does not answer holds a call up for as long as it likes, whatever its time limit.

    Args:
        calls: Functions that ask a server.
        seconds: How long all of them together may take.

    Returns:
        The value of each, or its error.
    """
    found: list[T | Exception] = [DownloadError(f"no answer within {seconds:g} seconds") for _ in calls]

    def ask(index: int, call: Callable[[], T]) -> None:
        try:
            found[index] = call()
        except Exception as error:
            found[index] = error

    threads = [threading.Thread(target=ask, args=entry, daemon=True) for entry in enumerate(calls)]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(found)
