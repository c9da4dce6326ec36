"""Prints how far the memory of a process rises while it reads a picture, in bytes: `image_memory.py FILE`."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datamodules.datasets.errors import UnreadableFileError
from datamodules.datasets.io import read_image, to_visible


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    before = _peak()
    with suppress(UnreadableFileError):
        to_visible(read_image(Path(sys.argv[1])))
    sys.stdout.write(f"{_peak() - before}\n")
