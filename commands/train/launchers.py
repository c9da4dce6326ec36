"""What launchers (SLURM, torchrun) say about a run."""

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from ivif.commands.errors import UsageError

_INTERACTIVE: Final = ("bash", "interactive")
"""Job names of a shell on a node (as in Lightning): what is typed there are runs of their own, not one job."""


_OWN_STORES: Final = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


def launched_job() -> str | None:
    """The id that every process of a launch has, on every machine and at every restart; None for a plain start.

    SLURM's job (`job77`, of an array each task's own), else the id that torchrun was given.

    Raises:
        UsageError: If torchrun started several processes without an id.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job and os.environ.get("SLURM_JOB_NAME") not in _INTERACTIVE:
        return f"job{job}"
    launch = os.environ.get("TORCHELASTIC_RUN_ID")
    if launch is None:
        return None
    if launch != "none":  # torchrun's own word for no id
        return re.sub(r"[^\w-]", "_", launch)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "torchrun was given no id, by which its processes find their run folder. On one machine add --standalone, "
            "on several --rdzv-id NAME; the same name and command later go on with the same run."
        )
    return None


def say_restart_advice() -> None:
    """Says what to set before torchrun so that processes which it begins anew find each other, where it is not set.

    All attempts of a launch share one store of addresses, in torch 2.15 without a prefix for each: a process may read
    the address of one that has been killed, and wait for it. With the variable each attempt has a store of its own.
    """
    first = os.environ.get("RANK", "0") == "0"
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    if first and restarts and os.environ.get(_OWN_STORES) != "1":
        print(
            f"{_OWN_STORES}=1 is not set: where torchrun begins processes anew, they may wait for each other for ever. "
            f"Stop and begin with `{_OWN_STORES}=1 torchrun ...`, on every machine.",
            file=sys.stderr,
        )


def command_digest(arguments: Sequence[str]) -> str:
    """Six letters that tell the command lines of one job apart."""
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:6]
