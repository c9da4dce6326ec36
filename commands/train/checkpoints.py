"""A look at a checkpoint before anything is built: is it there, whole, and free of code?"""

import pickle
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from ivif.commands.errors import UsageError
from ivif.contracts.class_paths import class_of, full_path
from ivif.contracts.run_files import LAST, RELEASED
from ivif.contracts.trained_pictures import TrainedPictures, TrainedPicturesError
from ivif.files.archives import load_checked
from ivif.files.digests import file_digest
from ivif.lightning_modules.base import TASK_KEY
from ivif.models.layers.frozen import FROZEN_PARTS_KEY

_MAGIC: Final = (b"PK", b"\x80")
"""How files of torch begin: an archive, or, of old releases, a pickle."""

CHECKPOINT_WORDS: Final = ("best", "last", "hpc")
"""What Lightning takes for `--ckpt_path` instead of a file: checkpoints of the run itself."""

_VERSION_KEY: Final = "pytorch-lightning_version"
_ENTRIES: Final[Mapping[str, type[Any]]] = {_VERSION_KEY: str, "hyper_parameters": dict, FROZEN_PARTS_KEY: dict}
"""What some entries must be, where they are there."""


def fingerprint(path: Path) -> str:
    """The file's name and the start of its sha256, so that a checkpoint that was written over is another one."""
    return f"{path.name}@{file_digest(path)[:16]}"


def check_weights(subcommand: str, task: str, checkpoint: str | None, random_too: bool) -> None:
    """Refuses a command without the weights that it needs, and a checkpoint that it could not load.

    Args:
        subcommand: One of Lightning's.
        task: Class path of the configured task.
        checkpoint: `--ckpt_path`.
        random_too: Whether an untrained network may be run.

    Raises:
        UsageError: Says what to give.
    """
    if checkpoint in CHECKPOINT_WORDS and subcommand != "fit":
        raise UsageError(
            f"--ckpt_path {checkpoint}: {subcommand} is a run of its own and has no checkpoints yet. Give the file: "
            f"--ckpt_path RUN_FOLDER/checkpoints/last.ckpt (fit prints it)."
        )
    if subcommand == "fit" and checkpoint and Path(checkpoint).suffix == RELEASED:
        raise UsageError(
            f"--ckpt_path {checkpoint}: released weights hold no state of a training to go on with. Start a new one "
            f"from them: --init_from {shlex.quote(str(checkpoint))}."
        )
    if checkpoint and checkpoint not in CHECKPOINT_WORDS:
        check_checkpoint(Path(checkpoint), task)
    if subcommand == "fit" or checkpoint or random_too:
        return
    if class_of(task).needs_weights:
        raise UsageError(
            f"{subcommand} needs trained weights: give --ckpt_path RUN_FOLDER/checkpoints/last.ckpt, or "
            f"--allow_random_weights to run the untrained network all the same."
        )


def check_checkpoint(path: Path, task: str = "", option: str = "--ckpt_path") -> None:
    """Refuses a file that no run could load.

    Args:
        path: The checkpoint.
        task: Class path of the configured task; empty skips the comparison.
        option: What named the file, for the message.

    Raises:
        UsageError: If the file is missing, damaged, holds anything but plain values and tensors, is no checkpoint, or
            is one of another method.
    """
    if (path / LAST).is_file():
        raise UsageError(f"{option} {path}: this is the folder of a run. Give a checkpoint of it: {path / LAST}.")
    if not path.is_file():
        raise UsageError(f"{option} {path}: there is no such file. Give RUN_FOLDER/checkpoints/last.ckpt.")
    checkpoint = _read(path, option)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UsageError(f"{option} {path}: this is no checkpoint of a run (it has no 'state_dict').")
    _refuse_malformed(path, checkpoint, option)
    trained = full_path(str(checkpoint.get(TASK_KEY, task)))
    if task and trained.rpartition(".")[2] != task.rpartition(".")[2]:
        raise UsageError(
            f"{option} {path}: this is a checkpoint of {trained}, but the configuration is for {task}. Give the "
            f"configuration of its run (config.yaml in its folder), or a checkpoint of {task.rpartition('.')[2]}."
        )


def _refuse_malformed(path: Path, checkpoint: Mapping[str, Any], option: str) -> None:
    """What Lightning and our tasks assume about the entries."""
    wrong = [f"'{key}'" for key, kind in _ENTRIES.items() if not isinstance(checkpoint.get(key, kind()), kind)]
    wrong += [f"the weight '{key}'" for key, value in checkpoint["state_dict"].items() if not isinstance(value, Tensor)]
    if _VERSION_KEY not in checkpoint:
        wrong.append(f"'{_VERSION_KEY}'")
    if wrong:
        raise UsageError(
            f"{option} {path}: missing, or of another kind than in a checkpoint of a run: {', '.join(wrong[:5])}. "
            f"Take a checkpoint that this suite wrote."
        )
    try:
        TrainedPictures.read(checkpoint)
    except TrainedPicturesError as error:
        raise UsageError(f"{option} {path}: {error}") from error


def _read(path: Path, option: str) -> Any:
    try:
        return load_checked(path, mmap=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        text = str(error).strip()
        if isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in text or "Unsupported" in text):
            raise UsageError(
                f"{option} {path}: the file holds code ({_named_code(text)}), which is never run. Take a checkpoint "
                f"that this suite wrote."
            ) from error
        size = path.stat().st_size
        if size and path.suffix != RELEASED and not _begins_as_torch_writes(path):
            raise UsageError(
                f"{option} {path}: the file is no checkpoint, or a damaged one ({size} bytes, and not of the kind that "
                f"torch writes). Give RUN_FOLDER/checkpoints/last.ckpt."
            ) from error
        reason = text.splitlines()[0][:200] if text else type(error).__name__
        raise UsageError(
            f"{option} {path}: the file is damaged ({size} bytes; {reason}). Take another checkpoint "
            f"of the run, or copy the file again."
        ) from error


def _begins_as_torch_writes(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2).startswith(_MAGIC)


def _named_code(text: str) -> str:
    found = re.search(r"GLOBAL (\S+)", text) or re.search(r"Unsupported (?:operand|class) (\S+)", text)
    return found.group(1) if found else "a pickled object"
