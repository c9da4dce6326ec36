"""The folder of a run: its name, who holds it, what it ran with."""

import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Final

from commands.errors import UsageError

RUN_FOLDER_VARIABLE: Final = "IVIF_RUN_FOLDER"
"""Environment variable through which the processes of one DDP run agree on their folder."""

_LOCK: Final = ".lock"


def choose_run_folder(runs: Path, name: str) -> Path:
    """A new folder `runs/<name>/<YYYYmmdd-HHMMSS>-<id>`, the same for every process of this run; not created yet.

    A requeued cluster job finds its own folder again, because the id is the job's.
    """
    inherited = os.environ.get(RUN_FOLDER_VARIABLE)
    if inherited:
        return Path(inherited)
    job = os.environ.get("SLURM_JOB_ID")
    existing = sorted((runs / name).glob(f"*-job{job}")) if job else []
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = existing[-1] if existing else runs / name / f"{stamp}-{f'job{job}' if job else secrets.token_hex(2)}"
    os.environ[RUN_FOLDER_VARIABLE] = str(folder)
    return folder


def lock_run_folder(folder: Path) -> None:
    """Creates the folder and claims it for this process.

    Raises:
        UsageError: If a living process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _holder(folder / _LOCK)
        if held is not None:
            raise UsageError(
                f"'{folder}' is in use by process {held['pid']} on {held['host']}. Wait for it, or stop it."
            )
        claim = {"host": socket.gethostname(), "pid": os.getpid()}
        (folder / _LOCK).write_text(json.dumps(claim), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write the run folder '{folder}': {error}. Choose another with --runs_dir.") from error


def release_run_folder(folder: Path) -> None:
    """Gives the folder up, if this process holds it, so that another run of this process chooses its own."""
    if not os.environ.get("LOCAL_RANK"):
        os.environ.pop(RUN_FOLDER_VARIABLE, None)
    lock = folder / _LOCK
    if lock.is_file() and json.loads(lock.read_text(encoding="utf-8"))["pid"] == os.getpid():
        lock.unlink()


def mark_latest(folder: Path) -> None:
    """Points `runs/<name>/latest` at the folder of the newest training run; filesystems without links go without."""
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest-{os.getpid()}"
    try:
        temporary.symlink_to(folder.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)


def _holder(lock: Path) -> dict[str, str | int] | None:
    """Who holds the lock; None when nobody does or the process is gone."""
    try:
        held: dict[str, str | int] = json.loads(lock.read_text(encoding="utf-8"))
        pid = int(held["pid"])
    except (OSError, ValueError, KeyError):
        return None
    if held["host"] != socket.gethostname():
        return held  # no way to ask another machine: the user decides by removing the file
    if pid == os.getpid():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return held
    return held
