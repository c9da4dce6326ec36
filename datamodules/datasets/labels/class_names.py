"""Class names as files and options give them: what cannot be shown, written and drawn is refused where it is read."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ivif.files.errors import LabelError
from ivif.files.names import printable

LONGEST: Final = 100
"""Characters of a class name, which heads columns and captions."""


def checked_class_name(name: str, where: str) -> str:
    """A class name that can be shown, written and drawn.

    Args:
        name: As it stands in a file or an option.
        where: The place, for the message.

    Raises:
        LabelError: If it is empty, too long, or holds what cannot be shown.
    """
    problem = ""
    if not name.strip():
        problem = "is empty"
    elif len(name) > LONGEST:
        problem = f"has {len(name)} characters, and {LONGEST} are allowed"
    elif printable(name) != name:
        problem = "holds control characters, or others that cannot be shown"
    if problem:
        raise LabelError(f"{where}: the class name '{printable(name[:LONGEST])}' {problem}. Rename it.")
    return name


def checked_class_names(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Class names in order, each of them checked, none of them twice.

    Raises:
        LabelError: As `checked_class_name`, or if a name comes twice.
    """
    checked = tuple(checked_class_name(name, where) for name in names)
    twice = [name for name, count in Counter(checked).items() if count > 1]
    if twice:
        raise LabelError(f"{where}: the class name '{twice[0]}' stands there twice. Rename one of them.")
    return checked
