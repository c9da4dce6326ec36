"""What ends a run from outside of it, in a user's words: no memory, no disk, a loader process that died."""

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from ivif.commands.parsing.config_files import is_file
from ivif.contracts.batch import BatchSize
from ivif.contracts.run_files import LAST
from ivif.files.errors import UserError

RESUME: Final = "The last checkpoint is untouched: go on with fit --resume RUN_FOLDER."

_DISK: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the disk or the limit of the user allows",
    errno.EROFS: "the filesystem is read-only",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network filesystem is gone",
}
_STAGES: Final = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}
_EVALUATION: Final = (
    "Use --trainer.precision bf16-mixed, or --transforms.{} for smaller frames, with --loading.batch_size 1."
)
_REMEDIES: Final = {
    "fit": "Lower --loading.batch_size, or --transforms.crop (--transforms.resize for whole frames), use "
    "--trainer.precision bf16-mixed, or add the method's small preset (such as --config mgfusion_cpu.yaml).",
    "validate": _EVALUATION.format("resize"),
    "test": _EVALUATION.format("test_resize"),
    "predict": "Predict takes every pair at its own size: use --trainer.precision bf16-mixed, store large pairs "
    "smaller, or take a machine with more memory.",
}
_WORKER: Final = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pid>[\d, ]+)\) (?P<how>[^\n]*)")


class FailedRunError(UserError):
    """A run was ended by the machine that it ran on; the message says by what, and how to go on."""


def explain(
    error: BaseException, command: str, largest: Callable[[str], BatchSize | None], run_folder: Path
) -> FailedRunError | None:
    """The error in a user's words; None if it is of another kind.

    Args:
        error: What ended the run.
        command: `fit`, `validate`, `test` or `predict`.
        largest: The largest batch of a stage.
        run_folder: The run's folder.
    """
    text = str(error)
    saved = is_file(str(run_folder / LAST))
    resume = RESUME.replace("RUN_FOLDER", str(run_folder)) if saved else ""
    if _is_out_of_memory(error):
        size = largest(_STAGES[command])
        return FailedRunError(f"{_out_of_memory(text, size)} {_REMEDIES[command]} {resume}".strip())
    if isinstance(error, OSError) and error.errno in _DISK:
        apart = error.filename and not Path(error.filename).absolute().is_relative_to(run_folder.absolute())
        option = "--output_dir" if command == "predict" and apart else "--runs_dir"
        return FailedRunError(f"{disk_failure(error, str(run_folder))} Make room, or choose {option}. {resume}".strip())
    if found := _WORKER.search(text):
        return FailedRunError(
            f"A loader process ({found['pid'].strip()}) died: {found['how'].rstrip('.')}. Mostly it had no memory "
            f"left: lower --loading.num_workers (0 loads in the training process), or --loading.batch_size; a bus "
            f"error says that /dev/shm is too small. {resume}".strip()
        )
    return None


def disk_failure(error: OSError, place: str = "") -> str:
    """What could not be written or read, and why, in a sentence.

    Args:
        error: Of the operating system.
        place: Folder to name where the error names no file.
    """
    named = f" '{error.filename}'" if error.filename else f" in '{place}'" if place else ""
    return f"Cannot {'write' if error.errno in _DISK else 'use'}{named}: {_DISK.get(error.errno or 0, error.strerror)}."


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(
        re.search(r"can't allocate memory|not enough memory|CUDA out of memory|Cannot allocate memory", str(error))
    )


def _out_of_memory(text: str, size: BatchSize | None) -> str:
    asked = re.search(r"(?:allocate|requested) ([\d.,]+ ?(?:[KMGT]i?B|bytes))", text)
    where = "The GPU" if "CUDA" in text else "This machine"
    tried = f" ({asked[1]} more were asked for)" if asked else ""
    if size is None:
        return f"{where} has no memory left{tried}."
    frames = f"{size.height}x{size.width}"
    of = f"of {size.pair} ({frames}), the largest pair" if size.pair else f"and {frames} crops"
    return f"{where} has no memory left{tried} with batch {size.pairs} {of}."
