"""Whose a file is: on a shared machine, what others can write must not be trusted."""

import os
import stat
from pathlib import Path


def distrust(*paths: Path) -> str:
    """Why one of these files and folders may hold what another user wrote, in words; empty where none does.

    A file may be ours, or root's, and must not be writable for everybody. The members of our own group are trusted:
    whoever has a umask of 002 has said so. What is missing is nobody's.

    Args:
        paths: Links are followed.
    """
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_uid not in (os.geteuid(), 0):
            return f"'{path}' belongs to another user (number {status.st_uid})"
        if status.st_mode & stat.S_IWOTH:
            return f"'{path}' can be written by every user (chmod o-w takes that away)"
    return ""
