"""Classes by the paths that configurations name them with."""

from importlib import import_module
from typing import Any

from commands.errors import UsageError
from lightning_modules.allowed_classes import allowed_class_path, refusal


def class_of(path: str) -> type[Any]:
    """The class of a `class_path`.

    Raises:
        UsageError: If a file may not name it.
    """
    if not allowed_class_path(path):
        raise UsageError(refusal(path))
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found
