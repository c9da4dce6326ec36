"""The control groups of this process: what a container or a cluster job allows it."""

from pathlib import Path
from typing import Final, NamedTuple

SYSTEM: Final = Path("/")


class ControlGroup(NamedTuple):
    """The folder of a group's files, and the version of control groups that says what they are called."""

    folder: Path
    version: int


def control_groups(controller: str, system: Path = SYSTEM) -> list[ControlGroup]:
    """Each control group that holds this process; a group's parents bound it too.

    Args:
        controller: `memory` or `cpu`.
        system: Root of the filesystem with `proc` and `sys`.
    """
    found = []
    for line in read_text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, version = system / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            root, version = system / "sys/fs/cgroup" / controller, 1
        else:
            continue
        group = root / path.lstrip("/")
        folders = [group, *group.parents]
        # In a container, the path is often the host's, and the group itself is mounted as the root.
        found += [ControlGroup(folder, version) for folder in folders[: folders.index(root) + 1]]
    return found


def read_text(path: Path) -> str:
    """The text of one of the kernel's files; empty where there is none."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
