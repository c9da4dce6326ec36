"""Classes by the paths that configurations name them with."""

from importlib import import_module
from typing import Any


def class_of(path: str) -> type[Any]:
    """The class of a `class_path` that the parser has accepted."""
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found
