"""What a dashboard of a run can show beside scalars, and the callback that opens it and hands it the run's tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from ivif.contracts.batch import Boxes
from ivif.contracts.run_files import CONFIG, ENVIRONMENT, SPLITS
from ivif.files.inside import read_inside

RECORDS: Final = (CONFIG, ENVIRONMENT, SPLITS)
"""What a run folder holds of how the run was made."""


class Dashboard(ABC):
    """A logger that takes pictures, tables and records too, and lives in the run folder."""

    @abstractmethod
    def place(self, folder: Path, job: str) -> None:
        """Says where the run is written, before anything is.

        Args:
            folder: The run folder; the one above it names the experiment.
            job: The command: `fit`, `validate`, `test` or `predict`.
        """

    @abstractmethod
    def show_picture(
        self,
        key: str,
        picture: Image.Image,
        step: int,
        boxes: Mapping[str, Boxes] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        """Shows a picture.

        Args:
            key: Its name; what stands before the first `/` groups it.
            picture: RGB.
            step: The training step that it belongs to.
            boxes: Sets of boxes by name, to be laid over it where the dashboard can.
            class_names: Name of each label.
        """

    @abstractmethod
    def show_table(self, path: Path) -> None:
        """Shows a table that the run wrote.

        Args:
            path: The CSV file; where a Markdown file lies beside it, that is the readable form.
        """

    @abstractmethod
    def show_record(self, folder: Path) -> None:
        """Shows how the run was made: those of `RECORDS` that the run folder holds."""

    def continue_at(self, step: int) -> None:  # noqa: B027 - most dashboards need nothing
        """Training goes on at this step: what was shown of later ones is void."""


def read_records(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Path in the run folder and content of every file of `RECORDS` that is there.

    Raises:
        OutsideFileError: If one of them lies elsewhere, behind a link, or is too large.
    """
    for name in RECORDS:
        path = folder / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file.relative_to(folder), read_inside(file, folder)


def dashboards(trainer: Trainer) -> list[Dashboard]:
    """The trainer's loggers that are dashboards; none in a process that is not the first."""
    return [logger for logger in trainer.loggers if isinstance(logger, Dashboard)] if trainer.is_global_zero else []


class LateDashboards(Callback):
    """Gives the trainer its dashboards when everything is checked, and them the result tables at the end.

    Lightning opens every logger that it has before it looks at the checkpoint: a start that is refused would leave a
    run on the dashboard.

    Args:
        boards: The dashboards, which are loggers.
    """

    def __init__(self, boards: Sequence[Logger]) -> None:
        self.boards = boards

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds them, and tells them where a resumed run goes on."""
        self._add(trainer)
        if trainer.global_step:
            for board in dashboards(trainer):
                board.continue_at(trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds them."""
        self._add(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds them, where the validation is no part of a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._add(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the tables that the Evaluator wrote."""
        self._show_tables(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the tables that the Evaluator wrote, where it is no part of a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._show_tables(trainer)

    def _add(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # which logs nothing
            trainer.loggers = [*trainer.loggers, *self.boards]

    def _show_tables(self, trainer: Trainer) -> None:
        for board in dashboards(trainer):
            for path in sorted((Path(trainer.default_root_dir) / "tables").glob("*.csv")):
                board.show_table(path)
