"""Signals and time limits as requests to stop: noted at once, obeyed between two batches."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Final, Self

from lightning import Trainer
from lightning.pytorch.callbacks import Timer

from ivif.machine.process_group import gather_objects
from ivif.running.internals import cluster_environment

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1)
"""What clusters send before they end a job."""


class RunStoppedError(Exception):
    """Training was asked to stop, and has saved where it was.

    Args:
        reason: What asked: the name of a signal, or the setting that limits the time.
        checkpoint: The file to continue from; None if nothing had been trained yet.
    """

    def __init__(self, reason: str, checkpoint: str | None) -> None:
        super().__init__(f"Training was stopped by {reason}.")
        self.reason = reason
        self.checkpoint = checkpoint


class StopRequests:
    """What has asked this process to stop, if anything.

    Lightning's own handler of SIGTERM talks to the other processes from inside of the signal, in the middle of whatever
    they exchange at that moment, and its handler of SIGUSR1 saves in the middle of a step. These here only take note;
    processes agree between two batches (`agreed`).
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """What asked this process, if anything."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Takes note of `STOP_SIGNALS` from now on."""
        self.listen(STOP_SIGNALS)
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the signals back to whom they belonged."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
        self._before.clear()

    def listen(self, signals: tuple[signal.Signals, ...]) -> None:
        """Takes note of signals, over any other handler; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in signals:
            previous = signal.signal(number, self._note)
            self._before.setdefault(number, previous)

    def listen_while_training(self, trainer: Trainer) -> None:
        """Takes note of Ctrl-C too, and of the signal that the cluster's settings name."""
        if trainer.received_sigterm:
            self.ask("SIGTERM")
        requeue = getattr(cluster_environment(trainer), "requeue_signal", None)
        self.listen((*STOP_SIGNALS, signal.SIGINT, *((signal.Signals(requeue),) if requeue else ())))

    def ask(self, reason: str) -> None:
        """Asks for a stop at the next opportunity; the first reason counts."""
        self.reason = self.reason or reason

    def ask_if_time_is_up(self, trainer: Trainer) -> None:
        """Turns a Timer's stop, which would count the epoch as finished, into a request.

        The first process's clock decides, as it does for the Timer: others began a little later, and stop with it.
        """
        if not trainer.should_stop:
            return
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        left = [remaining for timer in timers if (remaining := timer.time_remaining()) is not None]
        if bool(left) and trainer.strategy.broadcast(min(left) <= 0):
            trainer.should_stop = False
            self.ask("the time limit trainer.max_time")

    def agreed(self, trainer: Trainer) -> str | None:
        """What asked the first of the processes that were asked to stop; every process must call it at the same place.

        The same for all: a signal may reach some of them a batch later.
        """
        if trainer.world_size == 1:
            return self.reason
        if not trainer.strategy.reduce_boolean_decision(self.reason is not None, all=False):
            return None
        return next(reason for reason in gather_objects(self.reason) if reason is not None)

    def _note(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            if self.reason is not None:
                raise KeyboardInterrupt
            # Not through `logging`, whose locks and buffers may be held by what was interrupted.
            os.write(2, b"\nStopping after this batch; once more stops at once, without saving.\n")
        self.ask(name)
