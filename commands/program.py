"""How this program was called, for messages that tell a user what to type."""

import shlex
import sys
from pathlib import Path


def program() -> str:
    """`python main.py`, `python -m ivif` or `ivif`: the way that the command line of this process began.

    Example:
        >>> program() in ("python main.py", "python -m ivif", "ivif")
        True
    """
    called = Path(sys.argv[0] if sys.argv else "")
    if called.name == "main.py":
        return "python main.py"
    return "python -m ivif" if called.parts[-2:] == ("ivif", "__main__.py") else "ivif"


def merge_line(output: Path) -> str:
    """What joins the shards of a folder, as it is typed."""
    return f"{program()} predict merge {shlex.quote(str(output))}"
