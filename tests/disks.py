"""Disks that fail, for tests of what is left then."""

import errno
import os


def full_disk(descriptor: int) -> None:
    """Fails as `os.fsync` does on a disk that turns out to be full.

    Raises:
        OSError: Always.
    """
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
