"""`metrics.csv` of a run: one file over any number of stops, whole at every moment."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ivif.contracts.run_files import LOG
from ivif.files.whole import write_whole


class RunLog(CSVLogger):
    """Lightning's CSV logger, which goes on with the file that is there instead of removing it.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=1)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made when the first row comes."""
        if self._experiment is None:
            self._experiment = _ContinuingWriter(self.log_dir)
        return self._experiment  # type: ignore[return-value]


class _ContinuingWriter(ExperimentWriter):
    """Appends rows; a new column rewrites the file beside itself first, so that a kill loses nothing."""

    def save(self) -> None:
        """Goes on with the columns that the file has at the first row; Lightning's writer begins without any."""
        if self.metrics and not self.metrics_keys:
            self.metrics_keys = _header(Path(self.metrics_file_path))
        super().save()

    def _check_log_dir_exists(self) -> None:
        """Keeps the rows that are there; Lightning's writer removes them."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        write_whole(path, _text(fieldnames, read_rows(path)))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log, without a last one that a kill cut short."""
    if not path.is_file():
        return []
    whole, _, _ = path.read_bytes().decode().rpartition("\n")
    return list(csv.DictReader(io.StringIO(whole, newline="")))


def cut_log(folder: Path, steps: int) -> int:
    """Removes the rows that a resumed run will log again, and the columns that only those had.

    Args:
        folder: The run folder.
        steps: Number of steps that the checkpoint holds: rows of step `steps` and later go.

    Returns:
        How many rows were removed.

    Raises:
        OSError: If the file cannot be written; it is then as before.
    """
    path = folder / LOG
    rows = read_rows(path)
    kept = [row for row in rows if int(row["step"]) < steps]
    if not path.is_file():
        return 0
    if not kept:
        path.unlink()
        return len(rows)
    columns = sorted({name for row in kept for name, value in row.items() if value})
    write_whole(path, _text(columns, kept))
    return len(rows) - len(kept)


def _header(path: Path) -> list[str]:
    rows = read_rows(path)
    return list(rows[0]) if rows else []


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
