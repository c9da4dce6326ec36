"""What a run ran with, written beside its configuration and into every checkpoint."""

import hashlib
import json
import logging
import math
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from ivif import __version__
from ivif.callbacks.dashboards import dashboards
from ivif.contracts.run_files import CONFIG, ENVIRONMENT, SPLITS
from ivif.files.errors import UserError
from ivif.files.places import CLONE
from ivif.files.whole import write_whole

logger = logging.getLogger(__name__)

RECORD_KEY: Final = "run"
"""Where a checkpoint keeps what its run ran with."""

PACKAGES: Final = (
    "torch",
    "torchvision",
    "lightning",
    "jsonargparse",
    "open_clip_torch",
    "ultralytics",
    "torchmetrics",
)
"""Packages whose versions a run records."""


class ChangedDataError(UserError, RuntimeError):
    """A run is resumed, and its training or validation pairs are not those that it had."""


class RunRecord(Callback):
    """Writes how the run is made into its folder, and shows it on the dashboards.

    That is `config.yaml`, `environment.json` (command, commit, versions, machine) and `splits/` (the names each stage
    used). A new folder gets them when everything is checked; those of a resumed run are replaced when its first batch
    is done, so that a start that fails leaves what it went on from.

    Checkpoints hold the same under `RECORD_KEY`, as plain values: `config` (the complete YAML), `commit`, `packages`,
    `data` (pairs and sha256 of each stage's names), `batches` (pairs per process and number of processes) and
    `wandb_run_id`.

    Args:
        config: The complete configuration as YAML; empty writes none.
    """

    def __init__(self, config: str = "") -> None:
        self.config = config
        self._written = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how many pairs a step has."""
        if _batches(trainer)[0]:
            rank_zero_info(_batch_line(trainer, pl_module))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all of them, unless the folder has those of an earlier start."""
        if not (Path(trainer.default_root_dir) / CONFIG).exists():
            self._write(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Replaces those of an earlier start, at the first batch."""
        if not self._written:
            self._write(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all of them, where the validation is no part of a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all of them."""
        self._write(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all of them."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        """Writes them in the first process.

        Raises:
            OSError: If the run folder cannot be written.
        """
        self._written = True
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        if self.config:
            write_whole(folder / CONFIG, self.config)
        write_whole(folder / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")
        write = getattr(trainer.datamodule, "write_selections", None)  # type: ignore[attr-defined]
        if write is not None:
            write(folder / SPLITS)
        for board in dashboards(trainer):
            board.show_record(folder)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the record."""
        config = Path(trainer.default_root_dir) / CONFIG
        present = environment()
        checkpoint[RECORD_KEY] = {
            "config": config.read_text(encoding="utf-8") if config.is_file() else "",
            "commit": present["commit"],
            "packages": present["packages"],
            "data": checksums(trainer),
            "batches": _batches(trainer),
            "wandb_run_id": next((str(own.version) for own in trainer.loggers if isinstance(own, WandbLogger)), None),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Compares what a resumed run had with what it has.

        Raises:
            ChangedDataError: If training goes on in its own run folder with other pairs; elsewhere that is a new run's
                choice, and is only said.
        """
        record = checkpoint.get(RECORD_KEY)
        if trainer.state.fn != TrainerFn.FITTING or not isinstance(record, Mapping):
            return
        before, now = record.get("data", {}), checksums(trainer)
        changed = [name for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
        changed += sorted(before.keys() ^ now.keys())
        message = "; ".join(f"{name}: {_pairs(before, name)} then, {_pairs(now, name)} now" for name in changed)
        here = Path(trainer.default_root_dir).resolve() in Path(str(trainer.ckpt_path)).resolve().parents
        if changed and here:
            raise ChangedDataError(
                f"The data are not those that this run was trained on ({message}). Restore them (splits/ "
                f"in the run folder names them), or begin a new run from this checkpoint: fit with the same options, "
                f"and --ckpt_path instead of --resume."
            )
        if changed:
            logger.warning("The checkpoint was trained on other pairs (%s).", message)
        if _in_all(record.get("batches")) != _in_all(_batches(trainer)):
            logger.warning(
                "The checkpoint was trained with batches of %s (pairs, processes), this run has %s: it does not go on "
                "with exactly the same pairs.",
                record.get("batches"),
                _batches(trainer),
            )


def checksums(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Number of pairs and sha256 of their names, in order, by `<dataset>/<stage>`; training and validation alone."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    readers: Callable[[str], list[Any]] = getattr(data, "stage_readers", lambda _: [])
    return {
        f"{reader.dataset_name}/{stage}": {
            "pairs": len(reader.names),
            "sha256": hashlib.sha256("\n".join(reader.names).encode()).hexdigest(),
        }
        for stage in ("train", "val")
        for reader in readers(stage)
    }


def _pairs(found: Mapping[str, Any], name: str) -> str:
    return f"{found[name]['pairs']} pairs ({found[name]['sha256'][:8]})" if name in found else "none"


def _batches(trainer: Trainer) -> list[int]:
    """Pairs in a batch of each process, and how many processes there are."""
    return [int(getattr(trainer.datamodule, "batch_size", 0)), trainer.world_size]  # type: ignore[attr-defined]


def _in_all(batches: Any) -> int | None:
    """Pairs in the batches of all processes; None where a record says no such thing."""
    try:
        return math.prod(map(int, batches))
    except (TypeError, ValueError, OverflowError):
        return None


def _batch_line(trainer: Trainer, task: LightningModule) -> str:
    """How many pairs a step has, and how they come together."""
    pairs, processes = _batches(trainer)
    joined = trainer.accumulate_grad_batches
    parts = getattr(task, "accumulate", 1)
    factors = [f"{pairs} of each process"]
    factors += [f"{processes} processes"] if processes > 1 else []
    factors += [f"{joined} accumulated batches"] if joined > 1 else []
    cut = f", each process's batch cut into {min(parts, pairs)} parts" if parts > 1 else ""
    return f"A step has {pairs * processes * joined} pairs: {' x '.join(factors)}{cut}."


def environment() -> dict[str, object]:
    """Command, commit, versions and machine of this process."""
    return {
        "command": sys.argv,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@cache
def _commit() -> str:
    if CLONE is None:
        return f"version {__version__}"
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - the git that the user has
            cwd=CLONE,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()
