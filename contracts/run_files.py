"""Where a run keeps what other commands take from it."""

from pathlib import Path
from typing import Final

CONFIG: Final = "config.yaml"
"""The whole configuration, which repeats the run."""

ENVIRONMENT: Final = "environment.json"
"""Versions, processors, devices and the commit."""

SPLITS: Final = "splits"
"""Folder of the names that each stage used."""

LOG: Final = "metrics.csv"
"""Every logged value, a row a step."""

LAST: Final = Path("checkpoints") / "last.ckpt"
"""The newest checkpoint of a run, in its folder."""

RELEASED: Final = ".safetensors"
"""How the names of released weights end; those of checkpoints end otherwise."""

STORE_RECORD: Final = "epoch.json"
"""File in a folder of last epoch's results that says which epoch made them, and that they are complete.

Who writes a store removes this file first, then writes every picture as `FOLDER/<dataset>/<name>.png`, and last this
file anew, under a temporary name that is then changed: `{"epoch": 3}`, epochs counted from 0. Loaders show the pictures
in the epoch that follows (4), and in no other.
"""


def set_aside(folder: Path, epoch: int) -> Path:
    """Where the store of an earlier epoch lies while a checkpoint may still go back to the epoch that reads it."""
    return folder.with_name(f"{folder.name}-epoch{epoch:04d}")
