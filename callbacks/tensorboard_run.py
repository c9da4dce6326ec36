"""TensorBoard as the dashboard of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from ivif.callbacks.dashboards import Dashboard, read_records
from ivif.contracts.batch import Boxes


class TensorBoardRun(TensorBoardLogger, Dashboard):
    """Event files in `RUN_FOLDER/tensorboard/`: `tensorboard --logdir runs`.

    Needs `pip install -e .[dashboards]`.

    Raises:
        ValueError: If TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            super().__init__(".", name="", version="tensorboard", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise ValueError("TensorBoard is not installed: pip install -e '.[dashboards]'.") from error

    def place(self, folder: Path, job: str) -> None:
        """Writes below the run folder."""
        self._root_dir = str(folder)

    @rank_zero_only
    def show_picture(
        self,
        key: str,
        picture: Image.Image,
        step: int,
        boxes: Mapping[str, Boxes] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        """The picture; TensorBoard has no overlays, so pictures that need them are left to the panels."""
        if not boxes:
            self.experiment.add_image(key, np.asarray(picture), step, dataformats="HWC")

    @rank_zero_only
    def show_table(self, path: Path) -> None:
        """The Markdown form of a table, where there is one."""
        readable = path.with_suffix(".md")
        if readable.is_file():
            self.experiment.add_text(f"tables/{path.stem}", readable.read_text(encoding="utf-8"))

    @rank_zero_only
    def show_record(self, folder: Path) -> None:
        """Configuration, environment and splits as texts."""
        for name, content in read_records(folder):
            self.experiment.add_text(str(name), _as_code(content.decode(errors="replace")))

    @rank_zero_only
    def continue_at(self, step: int) -> None:
        """Makes TensorBoard forget what an earlier part of the run logged beyond this step."""
        self.experiment.close()  # the next value opens another file, which begins with the note of where it continues
        self.experiment.purge_step = step


def _as_code(text: str) -> str:
    """Markdown that keeps lines and indents."""
    return "\n".join(f"    {line}" for line in text.splitlines())
