"""Processes of a run that end quietly."""

import atexit

import torch.distributed


def leave_process_group_at_exit() -> None:
    """Ends the threads of gloo before the interpreter ends.

    Lightning does so for NCCL alone. A thread of gloo that is left may abort the process at its very end, which a
    launcher takes for a failed run.
    """
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
