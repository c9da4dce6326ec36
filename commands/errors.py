"""What a user's mistake looks like on the terminal: one message that names it, and the exit code."""

import os
import re
import sys
import traceback
from typing import Final

from ivif.commands.parsing.messages import explain
from ivif.files.text_output import terminal

HINT: Final = "(see: python main.py SUBCOMMAND --help, and --print_config)"
"""Where to look after a mistake on the command line."""

_PARSER_NOISE: Final = re.compile(
    r"\s*(- )?(Does not validate against any of the Union subtypes|Subtypes: |Errors:$|Expected a <class 'NoneType'>|"
    r"Given value type: |Given value: |Expected a path but .* either not accessible or invalid|usage:|tip:)",
    re.IGNORECASE,
)


class UsageError(Exception):
    """A command line or configuration that cannot be carried out; the message carries the remedy."""


def user_errors() -> tuple[type[BaseException], ...]:
    """The errors whose message is meant for users, so that no traceback is shown for them."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from ivif.callbacks.checkpoint_io import CheckpointWriteError
    from ivif.callbacks.memory_guard import NotEnoughMemoryError
    from ivif.callbacks.run_record import ChangedDataError
    from ivif.commands.train.failures import FailedRunError
    from ivif.files.errors import DatasetError
    from ivif.lightning_modules.non_finite import NonFiniteLossError
    from ivif.models.clip import ClipWeightsError
    from ivif.models.layers.frozen import CheckpointMismatchError, FrozenPartMismatchError
    from ivif.models.learned_prompts import PromptFileError

    return (
        UsageError,
        ChangedDataError,
        CheckpointWriteError,
        DatasetError,
        FailedRunError,
        ClipWeightsError,
        CheckpointMismatchError,
        FrozenPartMismatchError,
        NonFiniteLossError,
        NotEnoughMemoryError,
        PromptFileError,
        MisconfigurationException,
        FileExistsError,
        FileNotFoundError,
        PermissionError,
        ValueError,  # every constructor and function of ours explains itself; IVIF_TRACEBACK=1 shows where it was
    )


def report_error(error: BaseException) -> int:
    """Prints the message, or the traceback too with IVIF_TRACEBACK=1, and returns the exit code 1."""
    if os.environ.get("IVIF_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"error: {terminal(readable(str(error)))}", file=sys.stderr)
    return 1


def readable(message: str) -> str:
    """The part of a message that a user can act on.

    An error in a loader process arrives wrapped in that process's traceback: its last line is the message. The parser
    lists every type that a value might have had, and why it has none of them: only the reason that counts is kept.
    """
    if message.startswith("Caught ") and "Original Traceback" in message:
        message = re.split(r"\n(?:[\w.]+(?:Error|Exception)): ", message)[-1]
    hint = f"\n{HINT}" if HINT in message else ""
    lines = [line.rstrip() for line in (explain(message) + hint).strip().splitlines() if line.strip()]
    kept = [re.sub(r"^(\s*)- (?=\S)", r"\1", line) for line in lines if not _PARSER_NOISE.match(line)]
    hints = [line for line in kept if line.strip() == HINT]
    return "\n".join([line for line in kept if line.strip() != HINT] + hints[:1] if kept else lines).lstrip()
