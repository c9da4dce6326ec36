"""What loader processes do differently from the process that they load for."""

import signal
from typing import Final

_FOR_THE_PARENT: Final = ("SIGINT", "SIGTERM", "SIGUSR1")


def leave_signals_to_parent(_: int) -> None:
    """Lets a loader process live on when a whole group of processes is signalled: `worker_init_fn` of a DataLoader.

    Ctrl-C and a cluster's warning reach every process of a run. The training process finishes its batch and saves; it
    could not if its loaders were gone. They end when it tells them to, or a few seconds after it is gone.
    """
    for name in _FOR_THE_PARENT:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
