"""Runs side by side on this machine, whatever chooses them."""

import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import FrameType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ivif.commands.study.execute import Execution
from ivif.commands.study.record import StudyRun


class RunSource(Protocol):
    """Which runs there are: those of a study, or the trials of a search."""

    def next(self, running: Sequence[Execution]) -> Execution | None:
        """What can begin now beside those that run; None if nothing can before one of them ends."""

    def ended(self, execution: Execution, record: StudyRun) -> None:
        """Takes note of how a run ended."""

    def table(self) -> Table:
        """How far all are, for the terminal."""


class Pool:
    """Runs what a source gives, several at a time; Ctrl-C and SIGTERM stop the commands, which save.

    Args:
        source: Which runs there are.
        jobs: How many at a time.
        console: Where their table is shown.

    Attributes:
        stopping: Whether it was asked to stop.
    """

    def __init__(self, source: RunSource, jobs: int, console: Console) -> None:
        self.source, self.jobs, self.console = source, jobs, console
        self.stopping = False
        self._running: dict[Future[StudyRun], Execution] = {}

    def run(self) -> None:
        """Until all have ended."""
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        running = self._running
        try:
            with ThreadPoolExecutor(self.jobs) as threads, Live(console=self.console, refresh_per_second=1) as live:
                while True:
                    while len(running) < self.jobs and (each := self._next()) is not None:
                        running[threads.submit(each.execute)] = each
                    if not running:
                        break
                    done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                    for future in done:
                        self.source.ended(running.pop(future), future.result())
                    live.update(self.source.table())
            self.console.print()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _next(self) -> Execution | None:
        return None if self.stopping else self.source.next(list(self._running.values()))

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal asks for
        self.stopping = True
        for each in list(self._running.values()):
            if (process := each.process) is not None:
                process.send_signal(signal.SIGTERM)
