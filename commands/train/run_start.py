"""What a start finds in the folder of a run, and what it leaves there."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lightning import Callback, Trainer

from ivif.callbacks.run_log import cut_log
from ivif.commands.errors import UsageError
from ivif.contracts.run_files import CONFIG, ENVIRONMENT, SPLITS
from ivif.files.whole import remove_empty, remove_partial_files
from ivif.running.internals import STEPS_KEY

_WRITTEN_AT_START: Final = {CONFIG, ENVIRONMENT, SPLITS, ".lock"}
"""What every start writes, and can write again."""


def tidy_run_folder(folder: Path, steps: int) -> None:
    """Removes what the run will write again: half-written files, and rows of steps that the checkpoint lacks.

    Args:
        folder: The run folder, held by this process.
        steps: How many steps the checkpoint holds; 0 for a beginning.

    Raises:
        UsageError: If the log cannot be rewritten.
    """
    try:
        remove_partial_files(folder)
        removed = cut_log(folder, steps)
    except OSError as error:
        raise UsageError(f"Cannot write in the run folder '{folder}': {error}.") from error
    if removed:
        print(f"{removed} rows of metrics.csv came after the checkpoint and will be made again.")


class TrainingFolder(Callback):
    """Tidies the folder of a training when everything is checked, in the first process.

    Points `runs/<name>/latest` at it when the first batch is done: from then on it can be resumed.
    """

    def __init__(self) -> None:
        self._marked = False
        self._steps = 0

    def on_load_checkpoint(self, *arguments: Any) -> None:
        """Notes how far the checkpoint goes."""
        checkpoint = arguments[-1]
        self._steps = int(checkpoint.get(STEPS_KEY, checkpoint["global_step"]))

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Removes what is made again."""
        if trainer.is_global_zero:
            tidy_run_folder(Path(trainer.default_root_dir), self._steps)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Moves the link."""
        if trainer.is_global_zero and not self._marked:
            mark_latest(Path(trainer.default_root_dir))
            self._marked = True


def mark_latest(folder: Path, stage: str = "fit") -> None:
    """Points `runs/<name>/latest` at the folder of the newest run; filesystems without links go without.

    A run of another stage is `latest-<stage>`, and `latest` too where that is no training, which others go on from.
    """
    latest = folder.parent / "latest"
    if stage == "fit":
        _point(latest, folder)
        return
    others = {link.resolve() for link in folder.parent.glob("latest-*")}
    _point(folder.parent / f"latest-{stage}", folder)
    if not latest.exists() or latest.resolve() in others:
        _point(latest, folder)


def _point(link: Path, folder: Path) -> None:
    temporary = folder.parent / f".latest-{folder.name}"
    try:
        temporary.unlink(missing_ok=True)  # left by a kill between the next two lines; the folder is this process's own
        temporary.symlink_to(folder.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)


def remove_failed_start(folder: Path, made: Sequence[Path]) -> None:
    """Removes the folder of a run that ended before anything came of it.

    Args:
        folder: A folder that this run made; it stays if `latest` points at it, or it holds more than a start writes.
        made: All folders that the run made for it, as `lock_run_folder` gives them; they go where nothing is in them.
    """
    with suppress(OSError):  # a filesystem that is gone is what ended the run, and its message is the one to show
        if not folder.is_dir() or (folder.parent / "latest").resolve() == folder.resolve():
            return
        if any(entry.name not in _WRITTEN_AT_START and not _is_empty(entry) for entry in folder.iterdir()):
            return
        shutil.rmtree(folder)
        remove_empty(made)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
