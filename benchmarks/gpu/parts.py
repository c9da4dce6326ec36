"""One part of the GPU check, in a process of its own.

python -m benchmarks.gpu.parts NAME --seconds 60 --report FILE [--rehearse] [--long]
"""

import argparse
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic products, asked for before CUDA starts

import torch

from benchmarks.gpu.report import Report

MODULES: Final[Mapping[str, str]] = {
    "tests": "benchmarks.gpu.tested",
    "networks": "benchmarks.gpu.speed",
    "training": "benchmarks.gpu.runs",
    "determinism": "benchmarks.gpu.runs",
    "waits": "benchmarks.gpu.waits",
    "memory": "benchmarks.gpu.runs",
    "metrics": "benchmarks.gpu.speed",
    "compiled": "benchmarks.gpu.speed",
}
"""Part -> where the function of its name is. Imported by that part alone: a missing package ends no other."""


def main() -> None:
    """Runs a part and leaves its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=list(MODULES))
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    if options.rehearse:
        torch.set_num_threads(1)
    device = "cpu" if options.rehearse else "cuda"
    report = Report(options.report, options.seconds, device, options.rehearse, options.long)
    report.write()
    try:
        run: Callable[[Report], None] = getattr(import_module(MODULES[options.part]), options.part)
    except ModuleNotFoundError as error:
        report.leave_out(options.part, f"needs {error.name}, which is not installed")
        return
    run(report)


if __name__ == "__main__":
    main()
