"""Processor time until a command answers or an import is done, beside the imports of PyTorch and Lightning.

    python benchmarks/startup.py [--repeats 7] [--output benchmarks/results]

Every start is a process of its own, with one thread; the cases take turns, so that whatever else the machine does meets
all of them. Prints a table and writes it as startup.md and startup.csv.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402

CASES: Final[dict[str, tuple[list[str], float | None]]] = {
    "import torch": (["-c", "import torch"], None),
    "import lightning.pytorch": (["-c", "import lightning.pytorch"], None),
    "import ivif": (["-c", "import ivif"], None),
    "import ivif.metrics": (["-c", "import ivif.metrics"], None),
    "main.py report score --help": (["main.py", "report", "score", "--help"], 2.5),
    "main.py data --help": (["main.py", "data", "--help"], None),
    "main.py fit --help": (["main.py", "fit", "--help"], None),
    "main.py fit --config mgfusion.yaml --print_config": (
        ["main.py", "fit", "--config", "mgfusion.yaml", "--print_config"],
        4.5,
    ),
}
"""Case -> arguments of Python, seconds of processor time that it should take at most."""

ABOUT: Final = """
Seconds of processor time (user and system) of a whole process, medians of {repeats} starts; `fastest`: of the fastest
one. `of Lightning` is the share of what `import lightning.pytorch` takes. Files are in the operating system's cache,
and modules compiled: each case starts once before.
"""


def measure(arguments: list[str]) -> float:
    """Seconds of processor time of one start of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def table(times: dict[str, list[float]]) -> list[Row]:
    """One row for each case."""
    anchor = statistics.median(times["import lightning.pytorch"])
    rows: list[Row] = []
    for case, (_, target) in CASES.items():
        median = statistics.median(times[case])
        rows.append(
            {
                "case": case,
                "processor time (s)": f"{median:.2f}",
                "fastest": f"{min(times[case]):.2f}",
                "of Lightning": f"{median / anchor:.2f}",
                "target": "" if target is None else f"<= {target}",
                "reached": "" if target is None else "yes" if median <= target else "no",
            }
        )
    return rows


def main() -> int:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="Starts of each case.")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="Folder of the results.")
    options = parser.parse_args()
    machine = describe_machine(1)
    for arguments, _ in CASES.values():
        measure(arguments)
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(options.repeats):
        for case, (arguments, _) in CASES.items():
            times[case].append(measure(arguments))
    rows = table(times)
    show("start", rows)
    text = heading("startup", "How long a start takes", machine) + markdown(rows)
    write(options.output, "startup", text + ABOUT.format(repeats=options.repeats), {"startup": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
