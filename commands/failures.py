"""What ends a run from outside of it, in a user's words: no memory, no disk, a loader process that died."""

import errno
import re
from pathlib import Path
from typing import Final

import torch

from commands.config_files import is_file
from commands.run_files import LAST

RESUME: Final = "The last checkpoint is untouched: go on with fit --resume RUN_FOLDER."

_DISK: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the filesystem is read-only",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network filesystem is gone",
}
_WORKER: Final = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pid>[\d, ]+)\) (?P<how>[^\n]*)")


class FailedRunError(Exception):
    """A run was ended by the machine that it ran on; the message says by what, and how to go on."""


def explain(error: BaseException, size: tuple[int, int, int] | None, run_folder: Path) -> FailedRunError | None:
    """The error in a user's words; None if it is of another kind.

    Args:
        error: What ended the run.
        size: (batch size, height, width) of training batches; None for whole frames of any size.
        run_folder: The run's folder.
    """
    text = str(error)
    saved = is_file(str(run_folder / LAST))
    resume = RESUME.replace("RUN_FOLDER", str(run_folder)) if saved else ""
    if _is_out_of_memory(error):
        return FailedRunError(f"{_out_of_memory(text, size)} {resume}".strip())
    if isinstance(error, OSError) and error.errno in _DISK:
        named = f" '{error.filename}'" if error.filename else f" in '{run_folder}'"
        reason = _DISK[error.errno]
        return FailedRunError(f"Cannot write{named}: {reason}. Make room, or choose --runs_dir. {resume}".strip())
    if found := _WORKER.search(text):
        return FailedRunError(
            f"A loader process ({found['pid'].strip()}) died: {found['how'].rstrip('.')}. Mostly it had no memory "
            f"left: lower --loading.num_workers (0 loads in the training process), or --loading.batch_size; a bus "
            f"error says that /dev/shm is too small. {resume}".strip()
        )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(
        re.search(r"can't allocate memory|not enough memory|CUDA out of memory|Cannot allocate memory", str(error))
    )


def _out_of_memory(text: str, size: tuple[int, int, int] | None) -> str:
    asked = re.search(r"(?:allocate|requested) ([\d.,]+ ?(?:[KMGT]i?B|bytes))", text)
    where = "The GPU" if "CUDA" in text else "This machine"
    tried = f" ({asked[1]} more were asked for)" if asked else ""
    what = f"with batch {size[0]} and {size[1]}x{size[2]} crops" if size else "with whole frames of any size"
    crop = "--transforms.crop" if size else "set --transforms.crop (or --transforms.resize)"
    return (
        f"{where} has no memory left{tried} {what}. Lower --loading.batch_size or {crop}, use --trainer.precision "
        f"bf16-mixed, or add the method's small preset (such as --config mgfusion_cpu.yaml). Evaluation takes whole "
        f"frames: --transforms.resize bounds them."
    )
