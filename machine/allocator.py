"""Process setup: how the C library hands large blocks of memory to tensors on a CPU."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
_LARGEST_INT = 2**31 - 1


def tune_malloc() -> bool:
    """Keeps freed memory in the process for the next tensor; call it once, at the start, before large tensors exist.

    glibc maps every block above 32 MB freshly from the kernel and unmaps it when freed. The features of a
    full-resolution image are larger than that, so that each operation first waits for tens of thousands of page faults:
    they were more than half of the time of a 640x480 forward pass. Without mappings and trimming, a freed block serves
    the next operation at once. The price is memory: the process keeps its peak, which fragmentation makes larger.

    Values that a user set through glibc's own environment variables (MALLOC_MMAP_THRESHOLD_, MALLOC_MMAP_MAX_,
    MALLOC_TRIM_THRESHOLD_) are left alone, and so is every other C library (macOS, Windows, musl).

    Returns:
        Whether anything was set.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent where another allocator is preloaded
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST_INT))
