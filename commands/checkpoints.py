"""A look at a checkpoint before anything is built: is it there, whole, and free of code?"""

import hashlib
from pathlib import Path

import torch

from commands.errors import UsageError


def fingerprint(path: Path) -> str:
    """The file's name and the start of its sha256, so that a checkpoint that was written over is another one."""
    with path.open("rb") as stream:
        return f"{path.name}@{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def check_checkpoint(path: Path) -> None:
    """Refuses a file that no run could load.

    Raises:
        UsageError: If the file is missing, damaged, holds anything but plain values and tensors, or is no checkpoint.
    """
    if not path.is_file():
        raise UsageError(f"--ckpt_path {path}: there is no such file. Give RUN_FOLDER/checkpoints/last.ckpt.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"--ckpt_path {path}: the file is damaged or holds code, which is never run ({reason}). Take another "
            f"checkpoint of the run, or copy the file again."
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UsageError(f"--ckpt_path {path}: this is no checkpoint of a run (it has no 'state_dict').")
