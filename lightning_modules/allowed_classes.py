"""Which classes a file may name: a configuration or a checkpoint is data, and what it names is imported and built.

Of a path the most specific entry decides, and what no entry covers is refused before anything is imported.
"""

import os
import re
import sys
from typing import Final

PLUGINS_VARIABLE: Final = "IVIF_PLUGINS"
"""Environment variable with further packages or modules, separated by commas or colons."""

OURS: Final = ("lightning_modules", "datamodules", "callbacks", "losses", "metrics", "models")
"""Packages of this suite whose classes a configuration can need."""

ALLOWED: Final = (
    *OURS,
    "lightning.fabric.accelerators",
    "lightning.fabric.plugins",
    "lightning.fabric.strategies",
    "lightning.pytorch.accelerators",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.loggers.csv_logs",
    "lightning.pytorch.loggers.tensorboard",
    "lightning.pytorch.plugins",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
)
"""Ours, and what a `Trainer` takes of Lightning's own; its other loggers send runs to other hosts."""

REFUSED: Final = ("lightning.pytorch.callbacks.LambdaCallback", "lightning.pytorch.callbacks.lambda_function")
"""Exceptions: calls any function that a file names."""

_SENDING: Final = "lightning.pytorch.loggers"
_NEVER: Final = sys.stdlib_module_names | {"jsonargparse"}
"""Python's own modules start programs and delete files; jsonargparse's would change these rules."""


def plugins() -> tuple[str, ...]:
    """The packages and modules that the user named in `IVIF_PLUGINS`.

    Raises:
        ValueError: If an entry is no dotted name, or a part of Python.
    """
    names = tuple(name for name in re.split(r"[,:;\s]+", os.environ.get(PLUGINS_VARIABLE, "")) if name)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"{PLUGINS_VARIABLE} has '{name}', which is no name of a package, such as my_methods.")
        if name.partition(".")[0] in _NEVER:
            raise ValueError(f"{PLUGINS_VARIABLE} has '{name}', a part of Python itself: leave it out.")
    return names


def allowed_class_path(path: str) -> bool:
    """Whether a file may name this class, by its full path.

    Example:
        >>> allowed_class_path("lightning_modules.mgfusion.MGFusionTask"), allowed_class_path("subprocess.Popen")
        (True, False)

    Raises:
        ValueError: If `IVIF_PLUGINS` cannot be meant.
    """
    verdicts = dict.fromkeys(REFUSED, False) | dict.fromkeys((*ALLOWED, *plugins()), True)
    parts = path.split(".")
    entries = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((verdicts[entry] for entry in entries if entry in verdicts), False)


def refusal(path: str) -> str:
    """Why a class path is refused, and what allows it."""
    if path.partition(".")[0] in _NEVER:
        return f"'{path}' is a part of Python, or of the parser: never built because a file or an option names it."
    if path.startswith(REFUSED):
        return f"'{path}' calls whatever function a file names. Write a callback class of your own instead."
    reason = f"is of none of the packages that may be named ({', '.join(OURS)}; Lightning's for a trainer)"
    if path.startswith(f"{_SENDING}."):
        reason = "can send the run to another host (W&B is --wandb online)"
    return (
        f"The class '{path}' {reason}, so that nothing of it was run. If you know its code and want it to run, allow "
        f"its package: {PLUGINS_VARIABLE}={path.rpartition('.')[0] or path}"
    )
