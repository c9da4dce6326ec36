"""What a file is known by, whatever it is called."""

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """The sha256 of a file in hex (about 0.2 s per 350 MB)."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
