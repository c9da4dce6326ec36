"""Class names as files and options give them: which class is meant, and what cannot be shown or written is refused."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from ivif.contracts.class_synonyms import class_of
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


def chosen_classes(wanted: Sequence[str], known: Sequence[str], dataset: str) -> tuple[str, ...]:
    """The classes to use, as the option `classes` names them: all that are known where it names none.

    Args:
        wanted: The option's value, in any case and with synonyms.
        known: All classes of the labels; () where only the labels themselves know.
        dataset: Name of the dataset, for the message.

    Raises:
        LabelError: If a name cannot be shown, comes twice, or is none of those known.
    """
    used = checked_class_names(wanted, "The option `classes`")
    names = checked_class_names(known, "The option `label_classes`")
    indices = [class_index(name, names or used) for name in used]
    if None in indices:
        raise LabelError(
            f"`classes` names '{used[indices.index(None)]}', which is no class of {dataset}'s labels: "
            f"{', '.join(names)}. Choose among these."
        )
    if len(set(indices)) < len(indices):
        raise LabelError(f"`classes` ({', '.join(used)}) names one class of {dataset} twice. Leave one of them out.")
    return used or names


@lru_cache(maxsize=1024)
def class_index(name: str, classes: tuple[str, ...]) -> int | None:
    """The position in `classes` of the class called `name`, in any case or as a synonym; None if there is none."""
    wanted = _plain(name)
    plain = [_plain(entry) for entry in classes]
    if wanted in plain:
        return plain.index(wanted)
    return next((index for index, entry in enumerate(plain) if class_of(entry) == class_of(wanted)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()
