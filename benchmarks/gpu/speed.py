"""Parts of the GPU check that time: networks, compiled networks, metrics."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import product
from typing import Any, Final

import torch

from benchmarks.gpu.report import Report
from benchmarks.mgfusion_case import Case, measure
from benchmarks.networks import METHODS

SMALL: Final = (256, 256)
LARGE: Final = (480, 640)
COMPILING: Final = 40.0
"""Seconds without which no network is compiled."""

Kind = tuple[str, tuple[int, int]]
"""`train` or `infer`, (height, width)."""


def networks(report: Report) -> None:
    """Training steps and inference of the bases as they are written, beside published Restormer blocks."""
    kinds: list[Kind] = [(task, size) for size in (SMALL, LARGE) for task in ("train", "infer")]
    for case in _cases(kinds, ("fp32", "bf16", "published"), report):
        if case.variant != "published" or case.method != "text_to_pixels":  # which has no Restormer blocks
            _measure(report, case, 2.0)


def compiled(report: Report) -> None:
    """The same, compiled; compiling takes its time, so the most telling cases come first."""
    kinds: list[Kind] = [("train", SMALL), ("infer", LARGE), ("train", LARGE), ("infer", SMALL)]
    for case in _cases(kinds, ("compiled", "compiled, bf16") if report.long else ("compiled",), report):
        if report.rehearse and report.rows:
            report.leave_out(_name(case), "a rehearsal compiles one network")
        else:
            _measure(report, case, COMPILING)


def metrics(report: Report) -> None:
    """Milliseconds a triplet, and how far the values are from the CPU's."""
    from benchmarks.metrics import measure_on

    size, repeats, count = ((176, 176), 1, 2) if report.rehearse else (LARGE, 10, 16)
    with torch.inference_mode():
        for row in measure_on(torch.device(report.device), *size, repeats, count):
            report.rows.append({"case": row.pop("what"), **row})
            report.write()


def _cases(kinds: Iterable[Kind], variants: Iterable[str], report: Report) -> Iterable[Case]:
    for (task, (height, width)), method, variant in product(kinds, METHODS, variants):
        case = Case(task, height, width, variant, report.device, method=method, seconds=3.0)  # type: ignore[arg-type]
        if report.rehearse:
            tiny: dict[str, Any] = {"preset": "light", "threads": 1, "repeats": 1, "compiler": "aot_eager"}
            case = replace(case, height=height // 8, width=width // 8, **tiny)
        yield case


def _measure(report: Report, case: Case, needs: float) -> None:
    report.case(_name(case), lambda: {"measured": asdict(case), **asdict(measure(case))}, needs)


def _name(case: Case) -> str:
    return f"{case.method}, {case.task}, {case.height}x{case.width}, {case.variant}"
