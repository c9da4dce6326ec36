"""How many processors a process may use: of the machine, by its affinity, by its container or cluster job."""

import os
from pathlib import Path

from ivif.machine.control_groups import SYSTEM, ControlGroup, control_groups, read_text


def usable_processors(system: Path = SYSTEM) -> int:
    """Processors that this process may use, at least one.

    Args:
        system: Root of the filesystem with `proc` and `sys`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for group in control_groups("cpu", system) if (share := _share(group)) is not None]
    return max(1, min([allowed, *map(int, shares)]))


def _share(group: ControlGroup) -> float | None:
    """Processors' worth of time that a group gets; None where it is not limited."""
    if group.version == 2:
        words = read_text(group.folder / "cpu.max").split()
    else:
        words = [read_text(group.folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[1]):  # `max`, or -1: no limit
        return None
    return int(words[0]) / int(words[1])
