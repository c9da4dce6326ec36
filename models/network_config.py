"""What the configurations of all networks share: presets, choices, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Final, Literal, Self, Union, get_args, get_origin, get_type_hints

from torch import nn

from ivif.contracts.configuration import config_from
from ivif.files.plain_yaml import load_plain

BASE: Final = "base"
"""The preset that is a configuration's defaults."""


@dataclass(frozen=True)
class NetworkConfig:
    """Base of the frozen dataclasses that decide a network's shape; the defaults are the preset `base`.

    A field that is declared as a `Literal`, or as a union of such with `bool` or `None`, takes these values alone. A
    subclass that checks more calls `super().__post_init__()`.

    Raises:
        ValueError: If a field has none of its values.
    """

    presets: ClassVar[Mapping[str, Path]] = {}
    """Further presets by name: files of runs, whose `model.init_args.network` says what differs from the defaults."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            allowed = _choices(hint)
            if allowed and getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is none of {', '.join(map(repr, allowed))}.")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A named configuration.

        Args:
            name: `base`, or one of `presets`.
            **changes: Fields that shall differ from the preset.

        Raises:
            ValueError: If there is no such preset, or the changes do not fit.
            TypeError: If there is no such field.
        """
        if name != BASE and name not in cls.presets:
            raise ValueError(f"{cls.__name__} has no preset '{name}'; there are {', '.join((BASE, *cls.presets))}.")
        return replace(cls() if name == BASE else cls.from_file(cls.presets[name]), **changes)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """What a run's configuration file says of the network, and the defaults for what it does not say.

        Raises:
            ValueError: If it says nothing of a network, or what does not fit.
            OSError: If it cannot be read.
        """
        try:
            values: dict[str, Any] = load_plain(path)["model"]["init_args"]["network"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} says nothing of model.init_args.network.") from error
        made: Self = config_from(cls, values)
        return made


def count_parameters(network: nn.Module) -> int:
    """The number of trainable values of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values that a declared type names one by one; empty where it names none, or a plain `bool`."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) not in (Union, UnionType):
        return ()
    named = {bool: (True, False), type(None): (None,)}
    parts = [named.get(part) or _choices(part) for part in get_args(hint)]
    return tuple(value for part in parts for value in part) if all(parts) else ()
