"""How much memory a process has held at most."""

import re
import resource
import sys
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def peak_resident(status: Path = _STATUS) -> int:
    """The largest resident size of this process so far, in bytes.

    On Linux the kernel's own mark, which begins anew with a program. What `getrusage` gives, and this elsewhere, begins
    with the size of the process that started it: a small program started by one of 5 GB would seem to hold 5 GB.

    Args:
        status: Linux's file about this process.
    """
    if status.is_file() and (found := re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text("ascii"), re.MULTILINE)):
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # what the kernel counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
