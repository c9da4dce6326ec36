"""What every YAML text passes on its way into the parser, whether it is a file, a file in a file or an option."""

from collections.abc import Iterator
from typing import Any, Final

import yaml
from jsonargparse import get_loader, set_loader, set_parsing_settings

from ivif.commands.errors import UsageError
from ivif.contracts.class_paths import REFUSED, allowed_class_path, allowed_packages, full_path, refusal
from ivif.files.plain_yaml import PlainYamlError, measure

_CLASSES: Final = ("class_path", "model", "data", "callbacks", "logger", "plugins", "profiler", "strategy")
"""Keys under which a text can be the name of a class."""

_load: Final = get_loader("yaml")


def guard_parser() -> None:
    """Sets what the parser may import and read; once is enough, but `IVIF_PLUGINS` may have changed.

    Raises:
        ValueError: If `IVIF_PLUGINS` cannot be meant.
    """
    set_parsing_settings(
        instantiate_subclass_spec_in_any=False,
        import_path_denylist=["*", *REFUSED],
        import_path_allowlist=[*allowed_packages()],
    )
    set_loader("yaml", _load_guarded, (yaml.YAMLError,))


def _load_guarded(text: str) -> Any:
    try:
        measure(text)
    except PlainYamlError as error:
        start = " ".join(text[:60].split())
        raise UsageError(f"A file or value of the configuration {error.reason}; it begins with '{start}'.") from error
    value = in_full(_load(text))
    for path in _class_paths(value):
        if not allowed_class_path(path):
            raise UsageError(refusal(path))
    return value


def in_full(value: Any, key: str = "") -> Any:
    """A configuration, or a part of it, with every class by its full path.

    Args:
        value: As YAML gives it.
        key: What it stands under.
    """
    if isinstance(value, dict):
        return {name: in_full(part, str(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [in_full(part, key) for part in value]
    return full_path(value) if isinstance(value, str) and key in _CLASSES else value


def _class_paths(value: Any) -> Iterator[str]:
    """Every class with its module that a value names anywhere, also where the parser would take it for plain values."""
    if isinstance(value, dict):
        path = value.get("class_path")
        if isinstance(path, str) and "." in path:
            yield path
        for part in value.values():
            yield from _class_paths(part)
    elif isinstance(value, list):
        for part in value:
            yield from _class_paths(part)
