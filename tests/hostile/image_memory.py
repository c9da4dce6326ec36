"""Prints how far the memory of a process rises while it reads a picture, in bytes: `image_memory.py FILE`."""

import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ivif.datamodules.datasets.io import read_image, to_visible
from ivif.files.errors import UnreadableFileError
from ivif.machine.peak_memory import peak_resident

if __name__ == "__main__":
    before = peak_resident()
    with suppress(UnreadableFileError):
        to_visible(read_image(Path(sys.argv[1])))
    sys.stdout.write(f"{peak_resident() - before}\n")
