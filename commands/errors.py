"""What a user's mistake looks like on the terminal: one message that names it, and the exit code."""

import os
import re
import sys
import traceback
from typing import Final

from ivif.files.errors import DatasetError, UserError
from ivif.files.text_output import terminal

_TRIED: Final = re.compile(r"Errors:\n( +)- (.*)\n *Given value type:", re.DOTALL)
"""How jsonargparse lists what each type of an option has against a value."""

_OF_NO_TYPE: Final = re.compile(
    r"Expected a(?!n instantiatable)|Not a valid subclass|Import path does not|Unable to load"
)


_FIELD: Final = re.compile(r"`((loading|transforms)?[a-z_.]+)`")
"""A field of a datamodule in the message of a `DatasetError`; two of them are given beside the data."""


class UsageError(UserError):
    """A command line or configuration that cannot be carried out.

    Args:
        message: What is wrong.
        remedy: What to do or where to look, on a line of its own, where the message does not say it already.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}\n{remedy}" if remedy else message)


def is_user_error(error: BaseException) -> bool:
    """Whether the message of an error is meant for users, so that no traceback is shown for it.

    Every constructor and function of ours explains itself by a ValueError; IVIF_TRACEBACK=1 shows where it was.
    """
    plain = (UserError, FileExistsError, FileNotFoundError, PermissionError, ValueError)
    lightning = sys.modules.get("lightning.fabric.utilities.exceptions")  # what never was imported raised nothing
    known = plain if lightning is None else (*plain, lightning.MisconfigurationException)
    return isinstance(error, known) or "Original Traceback" in str(error)


def report_error(error: BaseException) -> int:
    """Prints the message, or the traceback too with IVIF_TRACEBACK=1, and returns the exit code 1."""
    if os.environ.get("IVIF_TRACEBACK") == "1":
        traceback.print_exception(error)
    message = readable(str(error))
    if isinstance(error, DatasetError):
        message = _FIELD.sub(lambda field: f"--{'' if field[2] else 'data.'}{field[1]}", message)
    print(f"error: {terminal(message)}", file=sys.stderr)
    return 1


def readable(message: str) -> str:
    """The part of a message that a user can act on.

    An error in a loader process arrives wrapped in that process's traceback: its last line is the message. One of a
    constructor arrives in the parser's list of reasons.
    """
    if message.startswith("Caught ") and "Original Traceback" in message:
        message = re.split(r"\n(?:[\w.]+(?:Error|Exception)): ", message)[-1]
    return "\n".join(line.rstrip() for line in (reason(message) or message).strip().splitlines() if line.strip())


def reason(message: str) -> str:
    """What is wrong, of all that the parser says about each type that a value might have had.

    Returns:
        A constructor's or an import's own message; empty where the value is of none of the types, and any other
        message as it is.
    """
    if tried := _TRIED.search(message):
        parts = re.split(rf"\n{tried[1]}- ", tried[2])
        return next(filter(None, (reason(part.replace(f"\n{tried[1]}  ", "\n")) for part in parts)), "")
    return "" if _OF_NO_TYPE.match(message) else message
