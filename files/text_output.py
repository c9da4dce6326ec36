"""Names in whatever is written: each target has characters that it obeys, and a name must not hold any of them.

Pages are left to Jinja, which escapes by itself.
"""

import logging
import re
from os import PathLike
from typing import Any, Final

from rich.text import Text

from ivif.files.names import file_name, printable

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "≈": r"$\approx$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        **{character: f"\\{character}" for character in "{}$&#%_"},
    }
)
_MARKDOWN: Final = re.compile(r"[\\`*<>\[\]|&]")
_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What spreadsheets take for a formula, or would after one of our quotes is taken away."""

_LABEL: Final = 60
"""Characters of a name in a figure."""

_KEY: Final = 150
"""Bytes of each part of a dashboard's key: W&B builds a file's name of the last one, a step and a hash."""

_TEXTS: Final = (str, PathLike, BaseException)
"""What a name may stand in, among the values of a record."""


def terminal(message: object) -> str:
    """A message for people: its lines stay lines, nothing else in it steers the terminal."""
    return printable(message, keep="\n\t")


def cell(text: object) -> Text:
    """A text for rich's tables and titles, which take `[...]` for markup otherwise."""
    return Text(printable(text))


def latex(text: object) -> str:
    """A text for LaTeX, in a cell of a table too: the end of the row before it would take `[` or `*` for its own."""
    escaped = printable(text).translate(_LATEX)
    return f"{{}}{escaped}" if escaped[:1] in ("[", "*") else escaped


def markdown(text: object) -> str:
    """A text for Markdown, in a cell of a table too."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text))


def label(text: object) -> str:
    """A text for a figure, cut where it is long; give it `parse_math=False`, for `$` means mathematics there."""
    shown = printable(text)
    return shown if len(shown) <= _LABEL else f"{shown[: _LABEL - 1]}…"


def quoted(text: Any) -> Any:
    """A text for a CSV file: what a spreadsheet would run gets a quote before it, as spreadsheets do it themselves."""
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) else text


def unquoted(text: Any) -> Any:
    """The text that `quoted` was given."""
    return text[1:] if isinstance(text, str) and text.startswith("'") and _FORMULA.match(text) else text


def key(*parts: str) -> str:
    """A name on a dashboard, its parts joined by slashes; long ones end in a hash."""
    shown = [printable(part) for part in parts]
    return "/".join(file_name(part, longest=_KEY) for part in shown)


class CleanRecord(logging.LogRecord):
    """A record of the log whose values cannot steer the terminal, nor begin a line of their own."""

    def getMessage(self) -> str:  # noqa: N802 - as the base class calls it
        """The message."""
        if isinstance(self.args, tuple):
            self.args = tuple(printable(value) if isinstance(value, _TEXTS) else value for value in self.args)
        return terminal(super().getMessage())


def clean_logs() -> None:
    """Makes every line of the log, of whichever package, a `CleanRecord`."""
    logging.setLogRecordFactory(CleanRecord)
