"""Milliseconds that `fit` adds to a training step, beside a bare PyTorch loop over the same network in the same run.

    python benchmarks/overhead.py [--repeats 5] [--steps 600] [--threads 1] [--output benchmarks/results]

The networks are two convolutions on 16x16 pixels, so that a millisecond shows. `fit` runs as the command line builds
it, once with the default loggers, progress bar and callbacks and once with `--trainer.logger false
--trainer.enable_progress_bar false`; Lightning's trainer also runs alone, over plain modules, which is the part of the
overhead that is not ours. After each 20 steps (the interval at which terms are logged) come as many of the bare loop,
in the same process. An overhead is the median difference of such neighbours, of the quarter of them in which the bare
loop ran fastest: there, other work on the machine disturbed least. All times are processor time. Prints a table and
writes it as overhead.md and overhead.csv; `--profile CASE` shows where the time goes.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["IVIF_PLUGINS"] = f"{os.environ.get('IVIF_PLUGINS', '')},benchmarks"  # its tasks are named below
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from lightning import LightningModule, Trainer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from benchmarks.overhead_parts import Clock, Pair, PlainAlternate, PlainFusion, loader  # noqa: E402
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.commands.cli import main as command_line  # noqa: E402

STRETCH: Final = 20
QUIET: Final = ("--trainer.logger=false", "--trainer.enable_progress_bar=false")
PLAIN: Final[dict[str, tuple[type[LightningModule], str]]] = {
    "Lightning alone, automatic": (PlainFusion, "bare_fusion"),
    "Lightning alone, two optimisers": (PlainAlternate, "bare_alternate"),
}
"""Case -> module, its bare loop: Lightning's own part of the overhead, with a trainer that has nothing switched on."""
CASES: Final[dict[str, tuple[str, str, tuple[str, ...], float]]] = {
    "automatic, no logging": ("TinyFusionTask", "bare_fusion", QUIET, 0.6),
    "automatic, default logging": ("TinyFusionTask", "bare_fusion", (), 1.5),
    "bilevel, no logging": ("TinyAlternateTask", "bare_alternate", QUIET, 0.6),
    "bilevel, default logging": ("TinyAlternateTask", "bare_alternate", (), 1.5),
}
"""Case -> task, its bare loop, options of the command line, most milliseconds to add."""


def fit(case: str, steps: int) -> list[Pair]:
    """`main.py fit` in this process, a bare loop between its steps.

    Raises:
        RuntimeError: If the command failed.
    """
    task, loop, options, _ = CASES[case]
    clock = (
        f'{{"class_path": "benchmarks.overhead_parts.Clock", "init_args": {{"loop": "{loop}", "stretch": {STRETCH}}}}}'
    )
    silence = io.StringIO()
    Clock.pairs.clear()
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
                f"--data.steps={steps}",
                f"--trainer.callbacks={clock}",
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
    return list(Clock.pairs)


def fit_plain(case: str, steps: int) -> list[Pair]:
    """A bare trainer in this process, a bare loop between its steps."""
    module, loop = PLAIN[case]
    Clock.pairs.clear()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        callbacks=[Clock(loop, STRETCH)],
    )
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        unittest.mock.patch.dict(os.environ, PYTORCH_NVML_BASED_CUDA_CHECK="1"),  # as Lightning's import leaves it
    ):
        trainer.fit(module(), loader(steps))
    return list(Clock.pairs)


def quietest(pairs: Sequence[Pair]) -> list[Pair]:
    """The quarter in which the bare loop ran fastest."""
    return sorted(pairs, key=lambda pair: pair.bare)[: max(1, len(pairs) // 4)]


def table_rows(found: dict[str, list[Pair]]) -> list[Row]:
    """One row for each case."""
    rows = []
    for case, pairs in found.items():
        kept = quietest(pairs)
        added = sorted(pair.fit - pair.bare for pair in kept)
        overhead, target = statistics.median(added), CASES[case][3] if case in CASES else None
        rows.append(
            {
                "case": case,
                "bare (ms per step)": f"{statistics.median(pair.bare for pair in kept):.3f}",
                "fit": f"{statistics.median(pair.fit for pair in kept):.3f}",
                "overhead": f"{overhead:.3f}",
                "middle half": f"{added[len(added) // 4]:.3f} to {added[3 * len(added) // 4]:.3f}",
                "of all stretches": f"{statistics.median(pair.fit - pair.bare for pair in pairs):.3f}",
                "target": "" if target is None else f"<= {target}",
                "reached": "" if target is None else "yes" if overhead <= target else "no",
            }
        )
    return rows


def profile(case: str, steps: int) -> None:
    """Prints the functions that a case spends its time in."""
    profiler = cProfile.Profile()
    profiler.runcall(fit, case, steps)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(90)


def main() -> None:
    """Measures every case in alternation, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--profile", choices=list(CASES), help="profile one case instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.profile:
        profile(options.profile, options.steps)
        return
    machine = describe_machine(options.threads)
    found: dict[str, list[Pair]] = {case: [] for case in (*PLAIN, *CASES)}
    turns = [case for _ in range(options.repeats) for case in found]
    for case in track(turns, "measuring", console=Console(stderr=True)):
        found[case] += (fit if case in CASES else fit_plain)(case, options.steps)
    rows = table_rows(found)
    show("What fit adds to a training step", rows)
    text = heading("overhead", "What fit adds to a training step", machine)
    about = (
        "\nTwo convolutions on 16x16 pixels; the bilevel task takes a step of each level. A case has "
        f"{len(found[turns[0]])} stretches of {STRETCH} steps, each followed by as many of the bare loop. Milliseconds "
        "of processor time per step, medians over the quarter of the stretches in which the bare loop ran fastest; `of "
        "all stretches` is the overhead without that choice.\n"
    )
    write(options.output, "overhead", text + markdown(rows) + about, {"overhead": rows})


if __name__ == "__main__":
    main()
