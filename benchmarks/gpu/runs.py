"""Parts of the GPU check that train: repeated runs, memory beside its estimate, real training."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.gpu.report import Report
from benchmarks.gpu.tasks import TINY, configured, length, scenes, tiny, tiny_data, trainer
from benchmarks.networks import METHODS
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.callbacks.throughput import Throughput
from ivif.datamodules.configuration import TransformConfig
from ivif.lightning_modules.base import FusionTask

GIB: Final = 2**30


def fit(kind: str, device: str, more: list[Callback], **options: Any) -> FusionTask:
    """A tiny task after its run, with the callbacks of every run that look at each step."""
    with tempfile.TemporaryDirectory() as folder:
        task = tiny(kind, Path(folder))
        callbacks = [*more, GradientNorms(), DiagnosticsLogger(), Throughput()]
        settings: dict[str, Any] = {"limit_val_batches": 0, **length(kind), **options}
        trainer(device, Path(folder), callbacks, **settings).fit(task, tiny_data(task))
    return task


def determinism(report: Report) -> None:
    """The same run twice with `deterministic: true`: equal bit by bit, or the first weights that differ."""
    kinds = [
        "mgfusion",
        "detection",
        "text_to_pixels, value_function",
        "promptfusion",
        *(kind for kind in TINY if kind.endswith(("without CLIP", "detector"))),
    ]
    for kind in kinds[1:2] + kinds[-3:] if report.rehearse else kinds:

        def twice(kind: str = kind) -> dict[str, Any]:
            states = []
            for _ in range(2):
                task = fit(kind, report.device, [], deterministic=True)
                states.append({name: value.detach().cpu().clone() for name, value in task.state_dict().items()})
            return differences(states[0], states[1])

        with _as_before():
            report.case(kind, twice)


def differences(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Any]:
    """Which of two states' tensors are not the same bit by bit, and by how much."""
    different = [name for name, value in first.items() if not torch.equal(value, second[name])]
    furthest = max((float((first[name].double() - second[name].double()).abs().max()) for name in different), default=0)
    row: dict[str, Any] = {"tensors": len(first), "different": len(different), "furthest": furthest}
    if different:
        row["fault"] = f"{len(different)} of {len(first)} tensors differ, the first is {different[0]}"
    return row


@contextmanager
def _as_before() -> Iterator[None]:
    """`deterministic: true` is torch's for the whole process."""
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class Memory(Callback):
    """A task's own estimate of a training step beside the most that tensors held.

    Args:
        size: (batch, height, width).
    """

    def __init__(self, size: tuple[int, int, int]) -> None:
        self.size = size
        self.row: dict[str, float | None] = {}
        self._held = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where the memory guard asks, too."""
        needed = pl_module.estimate_memory(self.size, training=True)  # type: ignore[operator]
        self.row["estimate GiB"] = None if needed is None else round(needed / GIB, 3)
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._held = torch.cuda.memory_allocated()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Beyond what was held before."""
        if trainer.strategy.root_device.type == "cuda":
            self.row["measured GiB"] = round((torch.cuda.max_memory_allocated() - self._held) / GIB, 3)


def memory(report: Report) -> None:
    """Two pairs a batch, whole frames, in two precisions; epochs of a step, so that levels are past their warm-up."""
    sizes = [(64, 64)] if report.rehearse else [(256, 256), (480, 640)]
    precisions = ["32-true"] if report.rehearse else ["32-true", "bf16-mixed"]
    for size, precision, method in product(sizes, precisions, METHODS):
        name = f"{method}, {size[0]}x{size[1]}, {precision}"
        with_or_without(report, name, partial(_memory, report, method, size, precision), needs=4.0)


def with_or_without(report: Report, name: str, run: Callable[[bool], Mapping[str, Any]], needs: float = 1.0) -> None:
    """A case with CLIP and detector; where a package is missing for that, the same without them as well."""
    if report.case(name, partial(run, True), needs):
        report.case(f"{name}, without CLIP and detector", partial(run, False), needs)


def _memory(
    report: Report, method: str, size: tuple[int, int], precision: str, packages: bool
) -> dict[str, float | None]:
    watch, task = Memory((2, *size)), configured(method, report.rehearse, packages)
    data = scenes(2, 1, size, TransformConfig(crop=None, rotate90=False))
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"precision": precision, "max_steps": 8, "limit_val_batches": 0}
        trainer(report.device, Path(folder), [watch], **settings).fit(task, data)
    return watch.row


class Losses(Callback):
    """The loss of each step, left on the device until the end, and the seconds since the tenth."""

    WARM_UP: Final = 10

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self._start = 0.0
        self.seconds = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keeps the loss."""
        self.losses.append(outputs["loss"].detach())
        if len(self.losses) == self.WARM_UP:
            self._start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the device."""
        self.losses = list(torch.stack(self.losses).float().cpu()) if self.losses else []
        self.seconds = time.perf_counter() - self._start if self._start else 0.0


def training(report: Report) -> None:
    """MGFusion base, bf16, generated scenes, for as long as the part has."""
    with_or_without(report, "MGFusion", partial(_train, report))


def _train(report: Report, packages: bool) -> dict[str, Any]:
    task = configured("mgfusion", report.rehearse, packages)
    batch, side, size = (2, 32, (64, 64)) if report.rehearse else (16, 256, (256, 320))
    data = scenes(batch, 3 if report.rehearse else 8, size, TransformConfig(crop=side))
    watch, held, losses = Throughput(), Memory((batch, side, side)), Losses()
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"precision": "bf16-mixed", "max_steps": 6 if report.rehearse else 100_000}
        settings |= {"limit_val_batches": 0, "max_time": {"seconds": max(5, int(report.left - 3))}}
        ran = trainer(report.device, Path(folder), [watch, held, losses], **settings)
        ran.fit(task, data)
    values = torch.stack(losses.losses)
    steps, share = len(values), min(10, len(values))
    first, last = float(values[:share].mean()), float(values[-share:].mean())
    row: dict[str, Any] = {
        "batch": batch,
        "side": side,
        "steps": steps,
        "seconds": round(losses.seconds, 1),
        "pairs per second": round((steps - Losses.WARM_UP) * batch / losses.seconds, 1) if losses.seconds else None,
        "first loss": round(first, 5),
        "last loss": round(last, 5),
        **held.row,
        **{name: float(value) for name, value in ran.callback_metrics.items() if re.match(r"perf/data_share", name)},
    }
    if not bool(torch.isfinite(values).all()):
        row["fault"] = "a loss was no number"
    elif last >= first and not report.rehearse:
        row["fault"] = "the loss did not fall"
    return row
