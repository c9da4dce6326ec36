"""One process at a time makes a file that many want; the others wait, and find it made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ivif.files.whole import remove_partial_files


@contextmanager
def made_once(path: Path) -> Iterator[None]:
    """Lets one process at a time make `path`, where the file system can lock; look for it again within the block.

    Without locks each process makes a file of its own, and the last one stays.

    Args:
        path: The file; its folder is made.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        else:
            remove_partial_files(path.parent, below=False, of=path.name)  # of a process that was killed meanwhile
        yield
