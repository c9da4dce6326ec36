"""TorchScript archives that the user vouches for: they hold code, so that no file can say it of another file."""

import os
from pathlib import Path
from typing import Final

TRUST_VARIABLE: Final = "IVIF_TRUST_ARCHIVES"
"""Environment variable with the paths of archives, separated as in PATH."""


def is_trusted(path: Path) -> bool:
    """Whether the user vouches for this file."""
    entries = os.environ.get(TRUST_VARIABLE, "").split(os.pathsep)
    return any(Path(entry).expanduser().resolve() == path.resolve() for entry in entries if entry)


def trust_archive(path: Path) -> None:
    """Vouches for a file in this process and those that it starts, because the command line does."""
    if not is_trusted(path):
        known = os.environ.get(TRUST_VARIABLE)
        entry = str(path.expanduser().resolve())
        os.environ[TRUST_VARIABLE] = f"{known}{os.pathsep}{entry}" if known else entry
