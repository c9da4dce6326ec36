"""What a user's mistake looks like on the terminal: one message that names it, and the exit code."""

import os
import re
import sys
import traceback


class UsageError(Exception):
    """A command line or configuration that cannot be carried out; the message carries the remedy."""


def user_errors() -> tuple[type[BaseException], ...]:
    """The errors whose message is meant for users, so that no traceback is shown for them."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from callbacks.memory_guard import NotEnoughMemoryError
    from datamodules.datasets.errors import DatasetError
    from lightning_modules.base import NonFiniteLossError
    from models.clip import ClipWeightsError
    from models.layers.frozen import CheckpointMismatchError, FrozenPartMismatchError

    return (
        UsageError,
        DatasetError,
        ClipWeightsError,
        CheckpointMismatchError,
        FrozenPartMismatchError,
        NonFiniteLossError,
        NotEnoughMemoryError,
        MisconfigurationException,
        FileExistsError,
        FileNotFoundError,
        PermissionError,
    )


def report_error(error: BaseException) -> int:
    """Prints the message, or the traceback too with IVIF_TRACEBACK=1, and returns the exit code 1."""
    if os.environ.get("IVIF_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"error: {readable(str(error))}", file=sys.stderr)
    return 1


def readable(message: str) -> str:
    """The part of a message that a user can act on.

    An error in a loader process arrives wrapped in that process's traceback: its last line is the message. The parser's
    usage lines and its internal "Problem with given class_path" prefixes are cut.
    """
    if message.startswith("Caught ") and "Original Traceback" in message:
        message = re.split(r"\n(?:[\w.]+(?:Error|Exception)): ", message)[-1]
    return "\n".join(line.rstrip() for line in message.strip().splitlines() if line.strip())
