"""YAML texts of any origin: measured before anything is built of them."""

from pathlib import Path
from typing import Any, Final

import yaml

LARGEST_TEXT: Final = 1_000_000
"""Characters; the longest configuration of ours has 2,000."""

MOST_VALUES: Final = 100_000
"""Values after aliases are written out: ten lines of YAML can stand for billions."""

MOST_LEVELS: Final = 100
"""Levels of lists and mappings inside each other."""

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainYamlError(ValueError):
    """A YAML text that no file of this suite can mean.

    Args:
        reason: What is wrong, as the end of a sentence about the file.
        line: Where, from 1.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.reason = reason
        self.line = line
        super().__init__(f"{'' if line is None else f'line {line} '}{reason}")


def measure(text: str, largest: int = LARGEST_TEXT, most_values: int = MOST_VALUES) -> None:
    """Refuses a text that is huge, or would be with its aliases written out; builds nothing, and never recurses.

    Raises:
        PlainYamlError: If it is.
        yaml.YAMLError: If it is no YAML.
    """
    if len(text) > largest:
        raise PlainYamlError(f"has {len(text)} characters, too many")
    sizes: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = None if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_parts):
                raise PlainYamlError("holds itself by an alias", line)
            count += sizes.get(str(event.anchor), 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_parts.pop()
            sizes |= {} if anchor is None else {anchor: count - before}
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            sizes |= {} if event.anchor is None else {event.anchor: 1}
        if count > most_values:
            raise PlainYamlError(f"stands for more than {most_values} values by its aliases", line)
        if len(open_parts) > MOST_LEVELS:
            raise PlainYamlError(f"has more than {MOST_LEVELS} levels", line)


def load_plain(path: Path, largest: int = LARGEST_TEXT, most_values: int = MOST_VALUES) -> Any:
    """What a YAML file says, in plain values.

    Raises:
        PlainYamlError: If it stands for more than `most_values` values, or has more than `largest` characters.
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is no UTF-8 text.
        yaml.YAMLError: If it is no YAML, or names code.
    """
    if path.stat().st_size > 4 * largest:
        raise PlainYamlError(f"has {path.stat().st_size} bytes, too many")
    return parse_plain(path.read_text(encoding="utf-8-sig"), largest, most_values)


def parse_plain(text: str, largest: int = LARGEST_TEXT, most_values: int = MOST_VALUES) -> Any:
    """What a YAML text says, in plain values.

    Raises:
        PlainYamlError: As `load_plain`.
        yaml.YAMLError: As there.
    """
    measure(text, largest, most_values)
    return yaml.load(text, Loader=LOADER)  # noqa: S506 - a safe loader, in C where there is one
