"""How a checkpoint reaches the disk: whole or not at all, on the filesystem that it belongs to."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

PARTIAL: Final = ".partial"
"""Ending of a file that is still being written, or was when its process was killed; its name begins with a dot."""


class CheckpointWriteError(RuntimeError):
    """A checkpoint cannot be written: the disk is full, read-only or gone. The one before it is untouched."""


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to the disk, and then takes the target's name in one step.

    Lightning's own writer goes through the folder for temporary files, which may lie on another filesystem: its last
    step is then a copy, and a process that is killed in the middle of it leaves half a checkpoint under the right name.
    Nothing is ever loaded but tensors and plain values.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint, so that at every moment `path` is the old file or the new one.

        Raises:
            CheckpointWriteError: If it cannot be written; `path` then still holds what it held before.
            TypeError: If `storage_options` are given, which a local file has not.
        """
        if storage_options is not None:
            raise TypeError("storage_options are for remote filesystems; checkpoints are written to local folders.")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)  # not into the file: torch reports a full disk there as an internal error
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(path), buffer.getbuffer())
        except OSError as error:
            raise CheckpointWriteError(
                f"The checkpoint '{path}' cannot be written: {error.strerror or error}. The one before it is "
                f"untouched. Make room or make the folder writable, and continue the run with --resume; "
                f"checkpoint.save_top_k keeps fewer files, and --runs_dir moves new runs."
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint onto the CPU, without running code from it, whatever `weights_only` says.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        checkpoint: dict[str, Any] = super().load_checkpoint(path, map_location or "cpu", weights_only=True)  # type: ignore[arg-type]
        return checkpoint


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replaces a file in one step, after its content has reached the disk.

    Raises:
        OSError: If it cannot be written; `path` is then as before, and nothing lies beside it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _flush_folder(path.parent)


def remove_partial_files(folder: Path, below: bool = True) -> list[Path]:
    """Removes what killed processes left half written, and says what; only for the process that holds the folder.

    Args:
        folder: It may be missing.
        below: Whether its folders are looked through as well.
    """
    left = sorted((folder.rglob if below else folder.glob)(f".*{PARTIAL}"))
    for path in left:
        path.unlink(missing_ok=True)
    return left


def _flush_folder(folder: Path) -> None:
    """Makes the new name durable; where folders cannot be opened, the filesystem decides."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
