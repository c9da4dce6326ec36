"""Prints how far the memory of a process rises while it reads a picture, in bytes: `image_memory.py FILE`."""

import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ivif.datamodules.datasets.io import read_image, to_visible
from ivif.files.errors import UnreadableFileError


def _peak() -> int:
    """The largest size of this process so far, which `resource` mixes with that of the process which started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    before = _peak()
    with suppress(UnreadableFileError):
        to_visible(read_image(Path(sys.argv[1])))
    sys.stdout.write(f"{_peak() - before}\n")
