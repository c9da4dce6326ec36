"""The order in which a command line takes effect: files first, options of a user's own last, wherever they stand."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import is_file
from ivif.contracts.class_paths import full_path
from ivif.files.plain_yaml import PlainYamlError, load_plain, parse_plain

PARTS: Final = ("--model", "--data", "--trainer.logger")
"""Options that choose a whole part, by a file or a class; options inside it come after them."""

_SECTIONS: Final = ("model", "data")
_CLASS_PATH: Final = ".class_path"


def in_order(arguments: Sequence[str]) -> list[str]:
    """The command line with every `--config` first, then what chooses a whole part, then all else.

    The parser lets what comes later win, so that `--data tno.yaml --config mgfusion.yaml` would train on the data of
    the method's file. Within each kind the order stays: later files win over earlier ones.

    Args:
        arguments: The command, then options; files and classes stand apart from their option.

    Raises:
        UsageError: If a file changes a model or data that no file before it names.
    """
    configs: list[str] = []
    parts: list[list[str]] = []
    rest: list[str] = []
    for item in _items(arguments[1:]):
        if item[0] == "--config" and len(item) == 2:
            configs.append(item[1])
        elif _part(item):
            parts.append(item)
        else:
            rest += item
    files = [word for config in configs for word in ("--config", config)]
    return [*arguments[:1], *_named_first(configs, parts), *files, *(word for item in parts for word in item), *rest]


def named_class(arguments: Sequence[str], section: str) -> str | None:
    """The class that files and options say the model, or the data, are of; None if none does.

    Args:
        arguments: The command, then options; files and classes stand apart from their option.
        section: `model` or `data`.
    """
    items = [item for item in _items(arguments[1:]) if len(item) == 2 or _part(item)]
    parts = [_content(item[1]).get(section) for item in items if item[0] == "--config"]
    parts += [_value(item[-1]) for item in items if _part(item) == f"--{section}"]
    named = [part if isinstance(part, str) else part["class_path"] for part in parts if _names_class(part)]
    return full_path(str(named[-1])) if named else None


def _items(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Options that choose a file or class together with their value, any other word by itself."""
    choosing = ("--config", *PARTS, *(f"--{section}{_CLASS_PATH}" for section in _SECTIONS))
    index = 0
    while index < len(arguments):
        length = 2 if arguments[index] in choosing else 1
        yield list(arguments[index : index + length])
        index += length


def _part(item: Sequence[str]) -> str:
    """The part that an item chooses, such as `--data`; empty if it chooses none."""
    option, separator, _ = item[0].partition("=")
    option = option.removesuffix(_CLASS_PATH)
    return option if option in PARTS and (separator or len(item) == 2) else ""


def _named_first(configs: Sequence[str], parts: Sequence[list[str]]) -> list[str]:
    """What must come even before the files: the model or data that they change, where only an option names it."""
    first: list[str] = []
    contents = [_content(config) for config in configs]
    for section in _SECTIONS:
        given = [content.get(section) for content in contents]
        names = [_names_class(own) for own in given]
        early = next((i for i, own in enumerate(given) if own is not None and not any(names[: i + 1])), None)
        if early is None:
            continue
        naming = next((item for item in parts if _part(item) == f"--{section}" and _item_names_class(item)), None)
        if naming is None:
            later = next((config for config, name in zip(configs, names, strict=True) if name), None)
            raise _refusal(configs[early], section, later)
        first += naming
    return first


def _names_class(section: Any) -> bool:
    return isinstance(section, str) or (isinstance(section, dict) and "class_path" in section)


def _item_names_class(item: Sequence[str]) -> bool:
    return _names_class(load_plain(Path(item[-1]))) if is_file(item[-1]) else True


def _value(text: str) -> Any:
    """What an option that chooses a part says: a file, a class or a mapping."""
    if is_file(text):
        return load_plain(Path(text))
    try:
        return parse_plain(text)
    except (PlainYamlError, yaml.YAMLError):
        return text


def _content(config: str) -> Any:
    """What a `--config` says: a file, or the text that a checkpoint holds."""
    content = load_plain(Path(config)) if is_file(config) else parse_plain(config)
    return content if isinstance(content, dict) else {}


def _refusal(config: str, section: str, later: str | None) -> UsageError:
    if later is None:
        path = Path(config)
        beside = [*path.parent.glob("*.yaml"), *path.parent.parent.glob("*.yaml")]
        later = next((str(other) for other in beside if path.stem.startswith(f"{other.stem}_")), None)
    remedy = f": --config {shown(later)} --config {shown(config)}" if later else f", or --{section} CLASS"
    return UsageError(
        f"--config {shown(config)}: it changes options of the {section}, but no file before it says which {section} "
        f"that is. Put the method's file first{remedy}."
    )


def shown(path: str) -> str:
    """A path as short as it can be typed here."""
    return min(path, os.path.relpath(path), key=len)
