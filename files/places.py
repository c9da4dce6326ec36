"""Where the suite lies and where its caches go: a clone keeps them in itself, an installed package never does."""

from pathlib import Path
from typing import Final

_ABOVE: Final = Path(__file__).resolve().parents[1]
CLONE: Final[Path | None] = _ABOVE if (_ABOVE / "pyproject.toml").is_file() else None
"""The repository's folder where the suite runs from one; None where it is installed."""


def home() -> Path:
    """Where caches lie: in the clone, wherever a command is started; without one in the current folder."""
    return CLONE or Path.cwd()
