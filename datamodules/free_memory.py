"""How much memory a process may still take: of the device, of the machine, of its container or cluster job."""

from pathlib import Path
from typing import Final

import torch

_SYSTEM: Final = Path("/")
_UNLIMITED: Final = 1 << 60
"""Limits from here on mean none: version 1 of control groups writes the largest multiple of a page."""


def free_memory(device: torch.device, system: Path = _SYSTEM) -> int | None:
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
    for line in _text(system / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_groups(system: Path) -> list[int]:
    """What each control group that holds this process has left; a group's parents bound it too."""
    left = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, usage, idle = system / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root = system / "sys/fs/cgroup/memory"
            limit, usage, idle = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = root / path.lstrip("/")
        folders = [group, *group.parents]
        # In a container, the path is often the host's, and the group itself is mounted as the root.
        inside = folders[: folders.index(root) + 1]
        left += [found for folder in inside if (found := _left(folder, limit, usage, idle)) is not None]
    return left


def _left(folder: Path, limit: str, usage: str, idle: str) -> int | None:
    allowed, used = _number(folder / limit), _number(folder / usage)
    if allowed is None or used is None or allowed >= _UNLIMITED:
        return None
    cached = [line.split()[1] for line in _text(folder / "memory.stat").splitlines() if line.startswith(f"{idle} ")]
    return max(0, allowed - used + sum(map(int, cached)))  # the kernel gives idle file pages up before it refuses


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
