"""Every bilevel scheme on the toy problems with known optima: where it ends, how long it takes, its path as a picture.

    python benchmarks/bilevel_toy.py [--iterations 1000] [--output benchmarks/results]

All start at zero with the same step sizes. `value_function` has numbers of its own for these problems; further rows
have those of the methods, and the same with a penalty that starts lower. `singleton` differentiates through unrolled
lower steps, as if the lower solution were unique. Prints a table, writes it as bilevel_toy.md and .csv, and draws
bilevel_toy.png.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.bilevel import SCHEMES  # noqa: E402
from ivif.bilevel.toy import (  # noqa: E402
    ToyResult,
    as_methods_set_it,
    many_solutions,
    sine,
    solve,
    solve_as_singleton,
    toy_config,
)

PROBLEMS = (many_solutions(), sine(1), sine(2))
RUNS: Final[dict[str, Callable[..., ToyResult]]] = {
    **{scheme: partial(solve, config=toy_config(scheme)) for scheme in SCHEMES},
    "value_function, methods' numbers": partial(solve, config=as_methods_set_it()),
    "value_function, methods' numbers from s = 1": partial(solve, config=as_methods_set_it(start=1.0)),
    "singleton": solve_as_singleton,
}


def run(iterations: int) -> dict[tuple[str, str], tuple[ToyResult, float]]:
    """(problem, scheme) -> where it ended and the seconds it took."""
    results = {}
    for problem in PROBLEMS:
        for scheme, solve_by in RUNS.items():
            start = time.perf_counter()
            result = solve_by(problem, iterations=iterations)
            results[problem.name, scheme] = result, time.perf_counter() - start
    return results


def table_rows(results: dict[tuple[str, str], tuple[ToyResult, float]], iterations: int) -> list[Row]:
    """One row for each problem and scheme."""
    return [
        {
            "problem": problem,
            "scheme": scheme,
            "x": f"{result.x.item():.4f}",
            "y": ", ".join(f"{value:.4f}" for value in result.y.tolist()),
            "F": f"{result.upper:.4f}",
            "f": f"{result.lower:.4f}",
            "optimal x": f"{result.problem.optimum_x:.4f}",
            "optimal y": f"{result.problem.optimum_y[0]:.4f} each",
            "F there": f"{result.problem.optimum:.4f}",
            "distance": f"{result.distance:.4f}",
            "within 0.02": "yes" if result.distance <= 0.02 else "no",
            "iterations": str(iterations),
            "seconds": f"{seconds:.1f}",
        }
        for (problem, scheme), (result, seconds) in results.items()
    ]


def draw(results: dict[tuple[str, str], tuple[ToyResult, float]], path: Path) -> None:
    """Two pictures per problem: the path of (x, last y), and the distance from the optimum over the iterations."""
    figure, axes = plt.subplots(2, len(PROBLEMS), figsize=(5 * len(PROBLEMS), 8.5), layout="constrained")
    styles = dict(zip(RUNS, ("-", "--", "-.", "-", ":", "--", "-", (0, (5, 1, 1, 1))), strict=True))
    for column, problem in enumerate(PROBLEMS):
        plane, curve = axes[0][column], axes[1][column]
        goal = torch.tensor([problem.optimum_x, *problem.optimum_y])
        for color, scheme in enumerate(RUNS):
            track = results[problem.name, scheme][0].path
            look = {"label": scheme, "color": f"C{color}", "linestyle": styles[scheme]}
            plane.plot(track[:, 0], track[:, -1], **look)
            plane.plot(track[-1, 0], track[-1, -1], "o", color=f"C{color}", markersize=5)
            curve.semilogy((track - goal).abs().amax(dim=1).clamp(1e-4, 1e2), **look)
        plane.plot(problem.optimum_x, problem.optimum_y[-1], "k*", markersize=16, label="optimum", zorder=5)
        plane.set(title=problem.name, xlabel="x", ylabel="y (last)", xlim=(-3.2, 4.2), ylim=(-3.2, 6.2))
        curve.axhline(0.02, color="grey", linewidth=0.8)
        curve.set(xlabel="iteration", ylabel="largest distance from the optimum")
    axes[0][0].legend(loc="upper left", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    """Runs, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    machine = describe_machine(1)
    results = run(arguments.iterations)
    rows = table_rows(results, arguments.iterations)
    show("Bilevel schemes on toy problems", rows)
    draw(results, arguments.output / "bilevel_toy.png")
    head = heading("bilevel_toy", "Bilevel schemes on toy problems", machine)
    text = head + markdown(rows) + "\n![paths](bilevel_toy.png)\n"
    write(arguments.output, "bilevel_toy", text, {"bilevel_toy": rows})


if __name__ == "__main__":
    main()
