"""How a checkpoint reaches the disk: whole or not at all, on the filesystem that it belongs to."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from ivif.contracts.run_files import RELEASED
from ivif.files.errors import UserError
from ivif.files.released import read_released
from ivif.files.whole import write_whole


class CheckpointWriteError(UserError, RuntimeError):
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
        if Path(path).suffix == RELEASED:
            return read_released(Path(path))
        checkpoint: dict[str, Any] = super().load_checkpoint(path, map_location or "cpu", weights_only=True)  # type: ignore[arg-type]
        return checkpoint
