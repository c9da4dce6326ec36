"""Ends a run that cannot fit before it starts, with the remedy; all processes alike."""

import socket
from itertools import groupby
from typing import Any, Final, NamedTuple

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ivif.callbacks.memory_remedies import GIB, remedies
from ivif.contracts.batch import BatchSize
from ivif.files.errors import UserError
from ivif.machine.free_memory import free_memory
from ivif.machine.process_group import gather_objects

_STEPS: Final = {"train": "A training step", "val": "Validation", "test": "Testing", "predict": "Predicting"}
_BYTES_PER_PIXEL: Final = 256 * 2**10
_BYTES_PER_STEP: Final = 2 * GIB
"""More than any network of the suite takes: a step of so little is not estimated, which takes seconds."""


class NotEnoughMemoryError(UserError, RuntimeError):
    """A step needs more memory than is free."""


class Need(NamedTuple):
    """What one process needs, and what it may take.

    Attributes:
        process: Its rank.
        place: Machine and device, whose memory several processes may share.
        needed: Bytes of its largest step.
        free: Bytes that are free at its place.
        size: Of the largest batch.
    """

    process: int
    place: str
    needed: int
    free: int
    size: BatchSize


class MemoryGuard(Callback):
    """Compares the task's own estimate of the largest step with what is free, and refuses a run that exceeds it.

    Processes decide together: where one lacks memory, all end with the same message. Those that share a device need
    the sum. In `fit` validation is looked at too.

    Args:
        enabled: Whether to refuse; off leaves it to the allocator.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at training and validation, before the first batch.

        Raises:
            NotEnoughMemoryError: With the figures and what to change.
        """
        self._check(trainer, pl_module, "train")
        if trainer.limit_val_batches:
            self._check(trainer, pl_module, "val")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at a validation that is no part of `fit`, as `on_fit_start`."""
        if trainer.state.fn != "fit":
            self._check(trainer, pl_module, "val")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the largest pair, as `on_fit_start`."""
        self._check(trainer, pl_module, "test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the largest pair, as `on_fit_start`."""
        self._check(trainer, pl_module, "predict")

    def _check(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if not self.enabled or not hasattr(trainer.datamodule, "largest_batch"):  # type: ignore[attr-defined]
            return
        needs = [need for need in gather_objects(_own_need(trainer, module, stage)) if need is not None]
        if not needs:
            return
        lacking = _lacking(needs)
        if lacking is None:
            most = max(needs, key=lambda need: need.needed)
            rank_zero_info(f"{_what(stage, most)}; {most.free / GIB:.1f} GiB are free on {most.place}.")
            return
        most = max(lacking, key=lambda need: need.needed)
        advice = remedies(trainer, module, stage, most.size, most.free // len(lacking))
        raise NotEnoughMemoryError(f"{_what(stage, most)}, and {_free(trainer, lacking)}. {advice}")


def _own_need(trainer: Trainer, module: Any, stage: str) -> Need | None:
    size = trainer.datamodule.largest_batch(stage)  # type: ignore[attr-defined]
    device = trainer.strategy.root_device
    free = free_memory(device)
    if size is None or free is None:
        return None
    if size.pairs * size.height * size.width * _BYTES_PER_PIXEL + _BYTES_PER_STEP < free:
        return None
    at_once = size[:3] if stage == "train" else module.at_once(*size[:3])
    needed = module.estimate_memory(at_once, stage == "train")
    if needed is None:
        return None
    return Need(trainer.global_rank, f"{socket.gethostname()} {device}", needed, free, size)


def _lacking(needs: list[Need]) -> list[Need] | None:
    """The first processes that share a place with too little for all of them."""
    for _, shared in groupby(sorted(needs, key=lambda need: need.place), key=lambda need: need.place):
        group = list(shared)
        if sum(need.needed for need in group) > min(need.free for need in group):
            return group
    return None


def _what(stage: str, need: Need) -> str:
    pairs, height, width, pair = need.size
    on = f"{pair} ({height}x{width})" if pair else f"{height}x{width} pixels"
    return f"{_STEPS[stage]} with batch {pairs} of {on} needs about {need.needed / GIB:.1f} GiB"


def _free(trainer: Trainer, lacking: list[Need]) -> str:
    free, place = min(need.free for need in lacking), lacking[0].place
    which = ""
    if trainer.world_size > 1:
        ranks = ", ".join(str(need.process) for need in lacking)
        which = f" for process {ranks}" if len(lacking) == 1 else f" for the processes {ranks} together"
    return f"{free / GIB:.1f} GiB are free{which} on {place}"
