"""The folder of a run: its name, and who holds it."""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.train.launchers import command_digest, launched_job
from ivif.contracts.run_files import LAST
from ivif.files.inside import OutsideFileError, read_inside, refuse_links_out
from ivif.files.whole import missing_folders, remove_empty

RUN_FOLDER_VARIABLE: Final = "IVIF_RUN_FOLDER"
"""Environment variable through which the processes of one DDP run agree on their folder."""

_LOCK: Final = ".lock"
_LONGEST_CLAIM: Final = 4096
_HELD: Final[dict[Path, int]] = {}
"""Open lock files of this process."""


def choose_run_folder(runs: Path, name: str, arguments: Sequence[str] = ()) -> Path:
    """A new folder `runs/<name>/<YYYYmmdd-HHMMSS>-<id>`, the same for every process of this run; not created yet.

    Of a SLURM or torchrun job it is `runs/<name>/<job>-<digest of the command line>`: its processes on any machine
    agree on it, a requeued job finds it again, and the commands of one job have a folder each.

    Args:
        runs: Folder of all runs.
        name: Of this kind of run.
        arguments: The command line.

    Raises:
        UsageError: If a launcher gave its processes nothing to agree by.
    """
    inherited = os.environ.get(RUN_FOLDER_VARIABLE)
    if inherited:
        return Path(inherited)
    job = launched_job()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = runs / name / (f"{job}-{command_digest(arguments)}" if job else f"{stamp}-{secrets.token_hex(2)}")
    os.environ[RUN_FOLDER_VARIABLE] = str(folder)
    return folder


def checkpoint_to_resume(folder: Path, given: str | None) -> str | None:
    """The checkpoint that training begins from, None for a beginning.

    `last` is the newest one in the run folder. A job of SLURM or torchrun that starts again goes on from there by
    itself, whatever it began from.

    Args:
        folder: The run folder, new or that of an earlier start of the same job.
        given: `--ckpt_path`.
    """
    last = folder / LAST
    if last.is_file() and (given == "last" or launched_job() is not None):
        return str(last)
    return None if given == "last" else given


def lock_run_folder(folder: Path, kind: str = "run", option: str = "--runs_dir") -> list[Path]:
    """Creates the folder and claims it for this process, until it releases it or ends.

    The claim is a lock of the kernel on `.lock`, so of two processes at the same moment one gets it, and nothing is
    left of a process that was killed. The file says who holds it: where machines share the folder, a claim of another
    machine counts, unless it is one of the same cluster job, which was queued again.

    Args:
        folder: That of a run, or another one that only one process may write into.
        kind: What messages call it.
        option: The option that chooses it.

    Returns:
        The folder and those around it that were made for it, the innermost first; none where it was there.

    Raises:
        UsageError: If a living process holds it, or it cannot be written.
        OutsideFileError: If something in it is a link out of it.
    """
    made = missing_folders(folder)
    try:
        refuse_links_out(folder)
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _HELD.pop(folder.resolve(), None)
        descriptor = _open_locked(folder / _LOCK) if descriptor is None else descriptor
        # Through the descriptor: closing any other one of the same file would give the lock up.
        held = _claim(_content(folder / _LOCK) if descriptor is None else os.pread(descriptor, _LONGEST_CLAIM, 0))
        if descriptor is not None and not _is_elsewhere(held):
            _write_claim(descriptor, folder / _LOCK)
            _HELD[folder.resolve()] = descriptor
            return made
    except OSError as error:
        remove_empty(made)
        raise UsageError(
            f"Cannot write the {kind} folder '{folder}': {error}. Choose another with {option}."
        ) from error
    if descriptor is not None:
        os.close(descriptor)
    raise _in_use(folder, held)


def refuse_held(folder: Path) -> None:
    """Refuses a folder that another process holds; it is not claimed.

    Raises:
        UsageError: If one holds it.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    held = _claim(os.pread(descriptor, _LONGEST_CLAIM, 0))
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may look at the same moment
    except (BlockingIOError, PermissionError) as error:
        raise _in_use(folder, held) from error
    finally:
        os.close(descriptor)
    if _is_elsewhere(held):
        raise _in_use(folder, held)


def _in_use(folder: Path, held: dict[str, str | int | None]) -> UsageError:
    return UsageError(
        f"'{folder}' is in use by process {held.get('pid', '?')} on {held.get('host', '?')}. Wait for it, or stop "
        f"it. If it is gone for certain (a machine that broke down, say), remove '{folder / _LOCK}'."
    )


def _write_claim(descriptor: int, lock: Path) -> None:
    """Says in the locked file who holds it; on a disk that is full, nothing of it stays.

    Raises:
        OSError: If it cannot be written.
    """
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "job": _job()}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(claim).encode(), 0)
    except OSError:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        raise


def release_run_folder(folder: Path) -> None:
    """Gives up the run's folder, if this process holds it, so that another run of this process chooses its own."""
    forget_run_folder()
    unlock_folder(folder)


def forget_run_folder() -> None:
    """Lets the next run of this process choose a folder of its own; the processes of a DDP run keep theirs."""
    if not os.environ.get("LOCAL_RANK"):
        os.environ.pop(RUN_FOLDER_VARIABLE, None)


def unlock_folder(folder: Path) -> None:
    """Gives a folder up, if this process holds it."""
    descriptor = _HELD.pop(folder.resolve(), None)
    if descriptor is not None:
        (folder / _LOCK).unlink(missing_ok=True)
        os.close(descriptor)


def _open_locked(lock: Path) -> int | None:
    """An open file that this process alone has locked; None if another process has.

    A record lock: it belongs to the process, so loader processes do not inherit it, and it ends with the process.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that another process holds
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        try:
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # its holder released and removed it between our two steps: make it anew


def _content(lock: Path) -> bytes:
    try:
        return read_inside(lock, lock.parent, _LONGEST_CLAIM)
    except (OSError, OutsideFileError):
        return b""


def _claim(content: bytes) -> dict[str, str | int | None]:
    """What the file says about its holder; nothing where it is empty or damaged."""
    try:
        claim = json.loads(content)
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}


def _is_elsewhere(claim: dict[str, str | int | None]) -> bool:
    """Whether another machine claims the folder, for another job than ours; it cannot be asked whether it lives."""
    own = claim.get("host") in (None, socket.gethostname())
    return not own and (_job() is None or claim.get("job") != _job())


def _job() -> str | None:
    """The job of SLURM, or the launch of torchrun by its id, whose processes may come back on another machine."""
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return os.environ.get("SLURM_JOB_ID") or (None if launch == "none" else launch)
