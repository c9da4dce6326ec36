"""Where a run keeps what other commands take from it."""

from pathlib import Path
from typing import Final

LAST: Final = Path("checkpoints") / "last.ckpt"
"""The newest checkpoint of a run, in its folder."""
