"""Seconds and memory of one iteration of each bilevel scheme, beside one plain joint step in the same run.

    python benchmarks/bilevel_step.py [--preset light|base] [--threads 2] [--repeats 9] [--output benchmarks/results]

From Text to Pixels with YOLOv5n on generated frames of 256x256, batch 2, whole frames for both levels, a teacher for
the structure loss in every case. The plain step is one weighted sum, one backward pass and two optimiser steps, without
a solver. Each case runs in a process of its own (memory is that process's peak); the cases take turns, and a ratio is
the median of the ratios within a turn. Writes bilevel_step.md and .csv.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.bilevel import BilevelConfig, Descent, Level, Problem, Progress, build_solver  # noqa: E402
from ivif.contracts.batch import batch_to_float, collate  # noqa: E402
from ivif.datamodules.datasets.synthetic import SyntheticDataset  # noqa: E402
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch  # noqa: E402
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask  # noqa: E402
from ivif.machine.allocator import tune_malloc  # noqa: E402
from ivif.machine.peak_memory import peak_resident  # noqa: E402
from ivif.models.detection import DetectorConfig  # noqa: E402
from ivif.models.text_to_pixels import TextToPixelsConfig  # noqa: E402

STEPS: Final = BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1)
CASES: Final[dict[str, tuple[BilevelConfig | None, float]]] = {
    "plain joint step": (None, 1.0),
    "joint": (replace(STEPS, scheme="joint"), 1.0),
    "separate (both halves)": (replace(STEPS, scheme="separate"), 1.3),
    "alternate 1/1": (replace(STEPS, scheme="alternate"), 1.3),
    "rank1 1/1": (replace(STEPS, scheme="rank1"), 1.3),
    "value_function 1/1/1": (replace(STEPS, scheme="value_function"), 2.2),
    "value_function 2/2/1": (replace(STEPS, scheme="value_function", lower_steps=2, value_steps=2), 4.5),
}
"""Case -> scheme, and the ratio to the plain step that it should not exceed."""


def make_task(config: BilevelConfig | None, preset: str) -> TextToPixelsTask:
    """The task, in training mode, with a teacher."""
    torch.manual_seed(0)
    task = TextToPixelsTask(
        clip="random-tiny",
        network=TextToPixelsConfig.preset(preset),
        detector=DetectorConfig("yolov5n", image_size=None),
        bilevel=config or replace(STEPS, scheme="joint"),
        crops=CropConfig(None),
        classes=SyntheticDataset.classes,
    )
    if task.teacher is not None:
        task.teacher.take(task.network)
    return task.train()


def make_iteration(task: TextToPixelsTask, config: BilevelConfig | None) -> Callable[[], None]:
    """One iteration on a fixed batch of two frames."""
    scenes = SyntheticDataset(2, (256, 256))
    batch = batch_to_float(collate([scenes[0], scenes[1]]))
    optimizers = {
        name: torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 1e-4)
        for name, module in task.level_modules().items()
    }
    if config is None:
        return lambda: _plain(task, optimizers, task.level_batch(batch))
    levels = {name: _level(task, name, optimizer) for name, optimizer in optimizers.items()}
    descent = Descent(list(levels.values()), task.split_batch)
    problem = Problem(levels["upper"], levels["lower"], levels.get("value"), descent=descent)
    solver, count = build_solver(problem, config), iter(range(10**9))

    changes = solver.level_fraction("lower", 0.9) >= 1  # the scheme trains one level first and then the other

    def once() -> None:
        levels = task.level_batch(batch)
        for fraction in (0.0, 0.9) if changes else (0.0,):
            solver.step(levels, torch.autograd.backward, Progress(0, next(count), fraction))

    return once


def _plain(task: TextToPixelsTask, optimizers: Mapping[str, torch.optim.Optimizer], levels: LevelBatch) -> None:
    lower, upper = (task.level_loss(level, levels) for level in ("lower", "upper"))
    assert upper.count is not None  # noqa: S101 - for mypy: an upper level counts
    torch.autograd.backward(0.5 * lower.value + 0.5 * upper.value / upper.count.clamp(min=1))
    for name, optimizer in optimizers.items():
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(name)


def _level(task: TextToPixelsTask, name: str, optimizer: torch.optim.Optimizer) -> Level:
    def step() -> None:
        optimizer.step()
        task.after_step(name)

    module = task.level_modules()[name]
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def zero_grad() -> None:
        optimizer.zero_grad()
        task.forget(name)

    size = partial(task.level_size, name)
    return Level(name, parameters, lambda batch: task.level_loss(name, batch), step, zero_grad, module, size)


def serve(case: str, preset: str, threads: int) -> None:
    """A process of one case: an iteration for each line on standard input, its seconds and the peak memory out."""
    tune_malloc()
    torch.set_num_threads(threads)
    config, _ = CASES[case]
    once = make_iteration(make_task(config, preset), config)
    for _ in range(2):
        once()
    for _ in sys.stdin:
        start = time.perf_counter()
        once()
        seconds = time.perf_counter() - start
        peak = peak_resident() / 2**20
        print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def measure(preset: str, threads: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Case -> measurements; the processes live side by side and take turns, so that nothing runs meanwhile."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    base = [sys.executable, __file__, "--preset", preset, "--threads", str(threads), "--case"]
    servers: dict[str, Any] = {
        case: subprocess.Popen(
            [*base, case], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=environment
        )
        for case in CASES
    }
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for turn in range(repeats + 1):
        for case, server in servers.items():
            server.stdin.write("\n")
            server.stdin.flush()
            measurement = json.loads(server.stdout.readline())
            if turn:  # the first waits for all processes to be ready
                found[case].append(measurement)
    for server in servers.values():
        server.stdin.close()
        server.wait()
    return found


def table_rows(found: dict[str, list[dict[str, float]]]) -> list[Row]:
    """One row for each case."""
    anchor = [measurement["seconds"] for measurement in found["plain joint step"]]
    rows = []
    for case, measurements in found.items():
        seconds = [measurement["seconds"] for measurement in measurements]
        ratio = statistics.median(case_seconds / plain for case_seconds, plain in zip(seconds, anchor, strict=True))
        aim = CASES[case][1]
        rows.append(
            {
                "scheme (lower/value/upper steps)": case,
                "seconds": f"{statistics.median(seconds):.3f}",
                "least": f"{min(seconds):.3f}",
                "ratio to plain": f"{ratio:.2f}",
                "aim": f"<= {aim:.1f}" if CASES[case][0] is not None and case != "joint" else "",
                "peak memory (MiB)": f"{max(measurement['peak'] for measurement in measurements):,.0f}",
            }
        )
    return rows


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["light", "base"], default="light")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        serve(options.case, options.preset, options.threads)
        return
    machine = describe_machine(options.threads)
    rows = table_rows(measure(options.preset, options.threads, options.repeats))
    show(f"One iteration, preset {options.preset}", rows)
    text = heading("bilevel_step", "One iteration of each bilevel scheme", machine)
    about = f"From Text to Pixels, preset `{options.preset}`, YOLOv5n, 256x256, batch 2, float32.\n\n"
    write(options.output, "bilevel_step", text + about + markdown(rows), {"bilevel_step": rows})


if __name__ == "__main__":
    main()
