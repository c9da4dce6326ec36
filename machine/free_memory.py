"""How much memory a process may still take: of the device, of the machine, of its container or cluster job."""

from pathlib import Path
from typing import Final

import torch

from ivif.machine.control_groups import SYSTEM, control_groups, read_text

_UNLIMITED: Final = 1 << 60
"""Limits from here on mean none: version 1 of control groups writes the largest multiple of a page."""

_FILES: Final = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""By version: the files of limit and usage, and the entry of `memory.stat` with what the kernel would give up."""


def free_memory(device: torch.device, system: Path = SYSTEM) -> int | None:
    """Free bytes on the device; None where unknown.

    On CUDA what the driver reports. On the CPU what the kernel calls available, or less where a control group (a
    container, a SLURM job) allows less.

    Args:
        device: Where tensors go.
        system: Root of the filesystem with `proc` and `sys`.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    known = [found for found in (_available(system), *_left_in_groups(system)) if found is not None]
    return min(known, default=None)


def _available(system: Path) -> int | None:
    for line in read_text(system / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_groups(system: Path) -> list[int]:
    """What each control group that holds this process has left."""
    return [found for group in control_groups("memory", system) if (found := _left(*group)) is not None]


def _left(folder: Path, version: int) -> int | None:
    limit, usage, idle = _FILES[version]
    allowed, used = _number(folder / limit), _number(folder / usage)
    if allowed is None or used is None or allowed >= _UNLIMITED:
        return None
    cached = [line.split()[1] for line in read_text(folder / "memory.stat").splitlines() if line.startswith(f"{idle} ")]
    return max(0, allowed - used + sum(map(int, cached)))  # the kernel gives idle file pages up before it refuses


def _number(path: Path) -> int | None:
    text = read_text(path).strip()
    return int(text) if text.isdigit() else None
