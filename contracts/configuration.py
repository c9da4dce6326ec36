"""Configuration dataclasses to plain values and back, so that checkpoints hold no objects and rebuild their task."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

ConfigT = TypeVar("ConfigT")


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, paths as strings, tuples as lists: what `weights_only=True` loads.

    Raises:
        TypeError: If a value is neither plain nor made of plain values.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"Hyperparameters are plain values or configuration dataclasses; got {type(value).__name__}.")


def config_from(kind: type[ConfigT], value: ConfigT | Mapping[str, Any]) -> ConfigT:
    """The dataclass itself, or the one that its plain form (from a checkpoint) describes.

    Raises:
        ValueError: If the plain form has keys that `kind` does not know.
    """
    if not isinstance(value, Mapping):
        return value
    try:
        return kind(**{key: _field(kind, key, entry) for key, entry in value.items()})
    except TypeError as error:
        raise ValueError(f"These settings do not fit {kind.__name__}: {error}.") from error


def _field(kind: type[Any], key: str, entry: Any) -> Any:
    """A list as a tuple; a mapping as the dataclass that the field's default is an instance of."""
    if isinstance(entry, list):
        return tuple(entry)
    default = getattr(kind, key, None)
    if isinstance(entry, Mapping) and is_dataclass(default):
        return config_from(type(default), entry)
    return entry


def plain_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    """`plain` for a whole set of constructor arguments."""
    return cast("dict[str, Any]", plain(values))
