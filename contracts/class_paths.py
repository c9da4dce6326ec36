"""Classes by the names that files and command lines give them, and which of them a file may name.

A configuration or a checkpoint is data, and what it names is imported and built: of a path the most specific entry
decides, and what no entry covers is refused before anything is imported.
"""

import os
import re
import sys
from collections.abc import Collection
from importlib import import_module
from typing import Any, Final

from ivif.contracts.plugins import DATASETS, METHODS, installed, packages
from ivif.contracts.plugins import class_path as class_path_of

PLUGINS_VARIABLE: Final = "IVIF_PLUGINS"
"""Environment variable with further packages or modules, separated by commas or colons."""

_ROOMS: Final = ("lightning_modules", "datamodules", "callbacks", "losses", "metrics", "models")
"""Packages of this suite whose classes a configuration can need."""

_ROOM_OF: Final = {METHODS: "lightning_modules", DATASETS: "datamodules"}

SHORT_NAMES: Final = {
    path.rpartition(".")[2]: path
    for path in (
        "ivif.lightning_modules.classic.ClassicFusionTask",
        "ivif.lightning_modules.detection.DetectionTask",
        "ivif.lightning_modules.mgfusion.MGFusionTask",
        "ivif.lightning_modules.promptfusion.PromptFusionTask",
        "ivif.lightning_modules.text_to_pixels.TextToPixelsTask",
        "ivif.datamodules.folder.FolderDataModule",
        "ivif.datamodules.llvip.LLVIPDataModule",
        "ivif.datamodules.m3fd.M3FDDataModule",
        "ivif.datamodules.msrs.MSRSDataModule",
        "ivif.datamodules.roadscene.RoadSceneDataModule",
        "ivif.datamodules.synthetic.SyntheticDataModule",
        "ivif.datamodules.tno.TNODataModule",
        "ivif.datamodules.unified.UnifiedDataModule",
        "ivif.callbacks.tensorboard_run.TensorBoardRun",
        "ivif.callbacks.wandb_run.WandbRun",
    )
}
"""Our classes that configurations name by their name alone."""

ALLOWED: Final = (
    *(f"ivif.{room}" for room in _ROOMS),
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


def full_path(name: str) -> str:
    """A class by its full path: short names of ours and of installed packages, and paths of older versions, in full.

    Up to version 0.1 the rooms of the suite were packages of the top level, as saved configurations and checkpoints
    tell; a package of one of these names that the user allows in `IVIF_PLUGINS` is meant before ours.

    Example:
        >>> full_path("MGFusionTask")
        'ivif.lightning_modules.mgfusion.MGFusionTask'
        >>> full_path("lightning_modules.mgfusion.MGFusionTask")
        'ivif.lightning_modules.mgfusion.MGFusionTask'

    Raises:
        ValueError: If `IVIF_PLUGINS` cannot be meant.
    """
    room, dot, _ = name.partition(".")
    if not dot:
        return known_names().get(name, name)
    older = room in _ROOMS and _covering(name, plugins()) is None
    return f"ivif.{name}" if older else name


def known_names(*groups: str) -> dict[str, str]:
    """Every short name with its full path: ours, then those of installed packages.

    Args:
        groups: `METHODS` or `DATASETS`; without any, all that may be named.
    """
    rooms = tuple(f"ivif.{_ROOM_OF[group]}." for group in groups) or ("ivif.",)
    names = {name: path for name, path in SHORT_NAMES.items() if path.startswith(rooms)}
    for group in groups or _ROOM_OF:
        names |= {name: class_path_of(entry) for name, entry in installed(group).items() if name not in SHORT_NAMES}
    return names


def class_of(path: str) -> type[Any]:
    """The class of a `class_path`, by its full path.

    Raises:
        ValueError: If a file may not name it.
    """
    if not allowed_class_path(path):
        raise ValueError(refusal(path))
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found


def allowed_packages() -> tuple[str, ...]:
    """Packages, modules and classes that a file may name: ours, Lightning's, installed ones, those of `IVIF_PLUGINS`.

    An installed package cannot allow a part of Python either.

    Raises:
        ValueError: If `IVIF_PLUGINS` cannot be meant.
    """
    return (*ALLOWED, *(name for name in packages() if name not in _NEVER), *plugins())


def allowed_class_path(path: str) -> bool:
    """Whether a file may name this class, by its full path.

    Example:
        >>> allowed_class_path("ivif.lightning_modules.mgfusion.MGFusionTask"), allowed_class_path("subprocess.Popen")
        (True, False)

    Raises:
        ValueError: If `IVIF_PLUGINS` cannot be meant.
    """
    verdicts = dict.fromkeys(REFUSED, False) | dict.fromkeys(allowed_packages(), True)
    entry = _covering(path, verdicts)
    return entry is not None and verdicts[entry]


def _covering(path: str, entries: Collection[str]) -> str | None:
    """The longest of the entries that a path is, or lies below."""
    parts = path.split(".")
    shorter = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((entry for entry in shorter if entry in entries), None)


def refusal(path: str) -> str:
    """Why a class path is refused, and what allows it."""
    if path.partition(".")[0] in _NEVER:
        return f"'{path}' is a part of Python, or of the parser: never built because a file or an option names it."
    if path.startswith(REFUSED):
        return f"'{path}' calls whatever function a file names. Write a callback class of your own instead."
    reason = (
        "is of none of the packages that may be named (ivif's rooms, installed methods and datasets, Lightning's for a "
        "trainer)"
    )
    if path.startswith(f"{_SENDING}."):
        reason = "can send the run to another host (W&B is --wandb online)"
    return (
        f"The class '{path}' {reason}, so that nothing of it was run. If you know its code and want it to run, allow "
        f"its package: {PLUGINS_VARIABLE}={path.rpartition('.')[0] or path}"
    )
