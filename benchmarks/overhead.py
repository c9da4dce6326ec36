"""Milliseconds that `fit` adds to a training step, beside a bare PyTorch loop over the same network in the same run.

    python benchmarks/overhead.py [--repeats 7] [--steps 400] [--threads 1] [--output benchmarks/results]

The networks are two convolutions on 16x16 pixels, so that a millisecond shows. `fit` runs as the command line builds
it, once with the default loggers, progress bar and callbacks and once with `--trainer.logger false
--trainer.enable_progress_bar false`. Times are the process's processor time, which other work on the machine
disturbs least; wall time stands beside. The cases take turns; a repetition gives each its fastest stretch of 20 steps
(the interval at which terms are logged), and the overhead is the difference to the bare loop of the same repetition.
Prints a table and writes it as overhead.md and overhead.csv; `--profile CASE` shows where the time goes.
"""

import argparse
import contextlib
import cProfile
import io
import os
import pstats
import statistics
import sys
import tempfile
import unittest.mock
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from benchmarks.mgfusion import Row, describe_machine, markdown, show  # noqa: E402
from benchmarks.overhead_parts import (  # noqa: E402
    Mark,
    StepClock,
    detection_terms,
    detector_network,
    fusion_network,
    fusion_terms,
    inputs,
    loader,
)
from commands.cli import main as command_line  # noqa: E402

STRETCH: Final = 20
WARM_UP: Final = 100
"""Steps that are not measured."""

QUIET: Final = ("--trainer.logger=false", "--trainer.enable_progress_bar=false")
TARGETS: Final = {"no logging": 0.6, "default logging": 1.5}
"""Milliseconds per step."""


def bare_automatic(steps: int) -> list[Mark]:
    """One optimiser by hand; the times at which steps ended."""
    network = fusion_network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    marks = []
    for batch in loader(steps):
        optimizer.zero_grad()
        loss = torch.stack(list(fusion_terms(network(inputs(batch)), batch).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        marks.append(Mark.now())
    return marks


def bare_bilevel(steps: int) -> list[Mark]:
    """A step of fusion and one of the detector by hand; the times at which pairs of steps ended."""
    fusion, detector = fusion_network(), detector_network()
    lower, upper = (torch.optim.Adam(network.parameters(), 1e-3) for network in (fusion, detector))
    marks = []
    for batch in loader(steps):
        lower.zero_grad()
        torch.stack(list(fusion_terms(fusion(inputs(batch)), batch).values())).sum().backward()  # type: ignore[no-untyped-call]
        lower.step()
        upper.zero_grad()
        with torch.no_grad():
            fused = fusion(inputs(batch))
        detection_terms(detector(fused))["found"].backward()  # type: ignore[no-untyped-call]
        upper.step()
        marks.append(Mark.now())
    return marks


def fit(task: str, steps: int, options: Sequence[str]) -> list[Mark]:
    """`main.py fit` in this process; the times at which steps ended.

    Raises:
        RuntimeError: If the command failed.
    """
    silence = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
    ):
        code = command_line(
            [
                "fit",
                f"--model=benchmarks.overhead_parts.{task}",
                "--data=benchmarks.overhead_parts.ConstantDataModule",
                f"--data.init_args.steps={steps}",
                "--trainer.callbacks=benchmarks.overhead_parts.StepClock",
                "--trainer.max_epochs=1",
                "--trainer.limit_val_batches=0",
                "--trainer.accelerator=cpu",
                "--trainer.enable_model_summary=false",
                f"--runs_dir={folder}",
                *options,
            ]
        )
    if code:
        raise RuntimeError(silence.getvalue())
    return list(StepClock.marks)


def without_lightning(run: Callable[[int], list[Mark]], steps: int) -> list[Mark]:
    """Runs a bare loop as it would be without Lightning, whose import makes every optimiser step look for a GPU."""
    with unittest.mock.patch.dict(os.environ):
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
        return run(steps)


CASES: Final[dict[tuple[str, str], Callable[[int], list[Mark]]]] = {
    ("automatic", "bare loop"): partial(without_lightning, bare_automatic),
    ("automatic", "no logging"): lambda steps: fit("TinyFusionTask", steps, QUIET),
    ("automatic", "default logging"): lambda steps: fit("TinyFusionTask", steps, ()),
    ("bilevel", "bare loop"): partial(without_lightning, bare_bilevel),
    ("bilevel", "no logging"): lambda steps: fit("TinyAlternateTask", steps, QUIET),
    ("bilevel", "default logging"): lambda steps: fit("TinyAlternateTask", steps, ()),
}


def milliseconds(marks: Sequence[Mark]) -> Mark:
    """Per step: the mean of the fastest stretch, as other work on the machine only ever adds."""
    stretches = list(pairwise(marks[WARM_UP - 1 :: STRETCH]))
    return Mark(*(min(1000 * (stop[kind] - start[kind]) / STRETCH for start, stop in stretches) for kind in (0, 1)))


def table_rows(found: dict[tuple[str, str], list[Mark]]) -> list[Row]:
    """One row for each case."""
    rows = []
    for (task, case), own in found.items():
        bare = found[task, "bare loop"]
        added = [one.processor - other.processor for one, other in zip(own, bare, strict=True)]
        target = TARGETS.get(case)
        row = {
            "task": task,
            "case": case,
            "ms per step": f"{statistics.median(one.processor for one in own):.3f}",
            "wall ms": f"{statistics.median(one.wall for one in own):.3f}",
        }
        row |= dict.fromkeys(("overhead (ms)", "least to most", "target", "reached"), "")
        if target is not None:
            row |= {
                "overhead (ms)": f"{statistics.median(added):.3f}",
                "least to most": f"{min(added):.3f} to {max(added):.3f}",
                "target": f"<= {target}",
                "reached": "yes" if statistics.median(added) <= target else "no",
            }
        rows.append(row)
    return rows


def profile(case: str, steps: int) -> None:
    """Prints the functions that a case spends its time in."""
    run = CASES[tuple(case.split("/", 1))]  # type: ignore[index]
    run(WARM_UP)
    profiler = cProfile.Profile()
    profiler.runcall(run, steps)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(90)


def main() -> None:
    """Measures every case in alternation, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--profile", choices=["/".join(case) for case in CASES], help="profile one case instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.profile:
        profile(options.profile, options.steps)
        return
    machine = describe_machine(options.threads)
    found: dict[tuple[str, str], list[Mark]] = {case: [] for case in CASES}
    turns = [(repeat, case) for repeat in range(options.repeats + 1) for case in CASES]
    for repeat, case in track(turns, "measuring", console=Console(stderr=True)):
        measured = milliseconds(CASES[case](options.steps))
        if repeat:  # the first warms everything up
            found[case].append(measured)
    rows = table_rows(found)
    show("What fit adds to a training step", rows)
    options.output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.output / "overhead.csv", index=False)
    command = " ".join(["python", "benchmarks/overhead.py", *sys.argv[1:]])
    text = f"# What fit adds to a training step\n\n`{command}`, {datetime.now(UTC):%Y-%m-%d}. {machine}.\n\n"
    about = (
        f"\nTwo convolutions on 16x16 pixels, {options.repeats} repetitions of {options.steps} steps; the bilevel task "
        "takes a step of each level. Milliseconds of processor time in the fastest stretch of 20 steps of each "
        "repetition; overhead: median of the differences to the bare loop of the same repetition.\n"
    )
    (options.output / "overhead.md").write_text(text + markdown(rows) + about, encoding="utf-8")


if __name__ == "__main__":
    main()
