"""The beginning of a run: `latest` points at it once training has begun, and a start that failed leaves no folder."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lightning import Callback, Trainer

from ivif.commands.train.run_folder import mark_latest
from ivif.contracts.run_files import CONFIG, ENVIRONMENT, SPLITS

_WRITTEN_AT_START: Final = {CONFIG, ENVIRONMENT, SPLITS, ".lock"}
"""What every start writes, and can write again."""


class MarkLatest(Callback):
    """Points `runs/<name>/latest` at the run when its first batch is done: from then on it can be resumed."""

    def __init__(self) -> None:
        self._marked = False

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Moves the link, in the first process."""
        if trainer.is_global_zero and not self._marked:
            mark_latest(Path(trainer.default_root_dir))
            self._marked = True


def remove_failed_start(folder: Path) -> None:
    """Removes the folder of a run that ended before anything came of it, and its parent if it holds nothing else.

    Args:
        folder: A folder that this run made; it stays if `latest` points at it, or it holds more than a start writes.
    """
    with suppress(OSError):  # a filesystem that is gone is what ended the run, and its message is the one to show
        if not folder.is_dir() or (folder.parent / "latest").resolve() == folder.resolve():
            return
        if any(entry.name not in _WRITTEN_AT_START and not _is_empty(entry) for entry in folder.iterdir()):
            return
        shutil.rmtree(folder)
        if _is_empty(folder.parent):
            folder.parent.rmdir()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
