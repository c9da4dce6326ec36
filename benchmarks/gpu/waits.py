"""The part of the GPU check that counts how often the host waits for the device."""

import ast
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer

from benchmarks.gpu.report import Report
from benchmarks.gpu.runs import fit
from benchmarks.gpu.tasks import PHASES, TINY

ROOT: Final = Path(__file__).resolve().parents[2]

EXPECTED_WAITS: Final = ROOT / "tests" / "pretend_gpu" / "test_waits.py"
"""Whose `EXPECTED` says how often each task waits on the tests' pretend device. Read, not imported: the pretend device
is made of torch's inside, which a machine's older torch may lack."""

STEADY: Final = 4
"""The second of three steps of the second epoch: there is a teacher, and texts and features are remembered."""

WAITING_CALLS: Final = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls of the driver's library after which the host has waited. `cudaDeviceSynchronize` is the profiler's own."""


class Waits(Callback):
    """What the host waits for in chosen steps, each from its beginning to the beginning of the next.

    Args:
        steps: Numbers of the steps, from 0.
        caught: The warnings of the whole run, which torch's warnings of waits join.
    """

    def __init__(self, steps: set[int], caught: list[warnings.WarningMessage]) -> None:
        self.steps = steps
        self.found: dict[int, dict[str, Any]] = {}
        self._caught = caught
        self._step = -1
        self._first = 0
        self._profiler: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Ends a step and begins the next."""
        self._close()
        self._step += 1
        if self._step in self.steps:
            self._profiler = torch.profiler.profile()
            self._profiler.start()
            self._first = len(self._caught)
            set_warnings("warn")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the last one."""
        self._close()

    def _close(self) -> None:
        if self._profiler is None:
            return
        set_warnings("default")
        warned = [own for own in self._caught[self._first :] if "synchronizing CUDA operation" in str(own.message)]
        self._profiler.stop()
        calls = Counter(event.name for event in self._profiler.events() if event.name in WAITING_CALLS)
        sites = Counter(f"{own.filename.removeprefix(f'{ROOT}/')}:{own.lineno}" for own in warned)
        self.found[self._step] = {
            "warned": len(warned),
            "profiled": sum(calls.values()),
            "calls": dict(calls),
            "sites": dict(sites.most_common()),
        }
        self._profiler = None


def set_warnings(mode: str) -> None:
    """Has torch warn wherever the host waits for a GPU; nothing where there is none."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)


def expected_waits() -> dict[str, int]:
    """Case -> waits of a steady step on the tests' pretend device; empty where the tests have no such table."""
    if not EXPECTED_WAITS.exists():
        return {}
    for node in ast.parse(EXPECTED_WAITS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXPECTED":
            found: dict[str, int] = ast.literal_eval(node.value)
            return found
    return {}


def waits(report: Report) -> None:
    """How often the host waits in a steady step of each task, by torch's warnings and by the profiler."""
    expected = expected_waits()
    kinds = ["mgfusion", "promptfusion without CLIP and detector"] if report.rehearse else list(TINY)
    for kind in kinds:
        phased = kind == "promptfusion"
        steps = {f"{kind}, {phase}": 3 * i + 1 for i, phase in enumerate(PHASES)} if phased else {kind: STEADY}
        found: dict[int, dict[str, Any]] = {}  # of the first of its cases, for the others

        def row(name: str, step: int, kind: str, of_steps: set[int], found: dict[int, dict[str, Any]]) -> Any:
            if not found:
                found.update(_waits_of(kind, of_steps, report.device))
            return found[step] | {"expected": expected.get(name)}

        for name, step in steps.items():
            report.case(name, partial(row, name, step, kind, set(steps.values()), found))


def _waits_of(kind: str, steps: set[int], device: str) -> dict[int, dict[str, Any]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counting = Waits(steps, caught)
        fit(kind, device, [counting])
    return counting.found
