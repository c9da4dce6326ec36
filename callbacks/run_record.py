"""What a run ran with, written beside its configuration."""

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from lightning import Callback, LightningModule, Trainer

PACKAGES: Final = (
    "torch",
    "torchvision",
    "lightning",
    "jsonargparse",
    "open_clip_torch",
    "ultralytics",
    "torchmetrics",
)
"""Packages whose versions a run records."""


class RunRecord(Callback):
    """Writes `environment.json` (command, commit, versions, machine) and `splits/` (the names each stage used)."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes both, once the datamodule knows its pairs.

        Raises:
            OSError: If the run folder cannot be written.
        """
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
        write = getattr(trainer.datamodule, "write_selections", None)  # type: ignore[attr-defined]
        if write is not None:
            write(folder / "splits")


def environment() -> dict[str, object]:
    """Command, commit, versions and machine of this process."""
    return {
        "command": sys.argv,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    root = Path(__file__).resolve().parent.parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()
