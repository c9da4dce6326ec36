"""All that is to be checked and measured where a GPU is at hand, in eight minutes.

    scripts/gpu_check.sh [--long] [--only PART ...] [--out FOLDER] [--rehearse]
    scripts/gpu_check.sh --pages FOLDER/gpu_check.json

Each part runs in a process of its own, which is ended at the part's limit; what it had measured by then is kept. What
cannot be run (a package is missing, too little memory or time) is named with its reason. Writes gpu_check.json, the
page gpu_check.md and the GPU sections of other pages into `--out`; `--pages` writes the pages of a JSON file that comes
from another machine. `--rehearse` runs every part on the CPU at tiny sizes, to try the check itself. The exit status
is 1 where anything failed or was ended at its limit.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from benchmarks.gpu.pages import without_row, write_pages
from benchmarks.tables import describe_machine

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
PACKAGES: Final = {
    "torch": "torch",
    "torchvision": "torchvision",
    "lightning": "lightning",
    "timm": "timm",
    "einops": "einops",
    "torchmetrics": "torchmetrics",
    "numpy": "numpy",
    "pandas": "pandas",
    "pytest": "pytest",
    "open_clip": "open_clip_torch",
    "ultralytics": "ultralytics",
    "faster_coco_eval": "faster-coco-eval",
    "jsonargparse": "jsonargparse",
    "wandb": "wandb",
    "triton": "triton",
}
"""Module -> its package, for the list of what is there and what is not."""

TOTAL: Final = {False: 480.0, True: 720.0}
"""Seconds in all; with `--long`."""

RESERVE: Final = 5.0
"""Seconds kept for the pages; a part with less than this is not begun."""

LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "tests": (80.0, 120.0),
    "networks": (75.0, 100.0),
    "training": (130.0, 130.0),
    "determinism": (45.0, 60.0),
    "waits": (45.0, 60.0),
    "memory": (35.0, 60.0),
    "metrics": (20.0, 30.0),
    "compiled": (TOTAL[False], TOTAL[True]),
}
"""Part, the most valuable first -> seconds at most; with `--long`. The last one has what is left."""

REHEARSAL_LIMIT: Final = 120.0
"""Seconds of each part in a rehearsal, whose one thread may be slow."""

GRACE: Final = 10.0
"""Seconds before its limit from which a part begins no new case; at most a quarter of it."""


def check(names: Sequence[str], rehearse: bool, long: bool, limits: Mapping[str, float]) -> dict[str, Any]:
    """Runs parts one after the other.

    Args:
        names: Which.
        rehearse: On the CPU, at tiny sizes.
        long: With more cases.
        limits: Part -> seconds.

    Returns:
        What `gpu_check.json` holds.
    """
    start, console = time.monotonic(), Console(stderr=True)
    packages = installed()
    missing = [PACKAGES[module] for module, version in packages.items() if version is None]
    document: dict[str, Any] = {
        "command": " ".join(
            ["scripts/gpu_check.sh", *(["--long"] if long else []), *(["--rehearse"] if rehearse else [])]
        ),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": describe_machine(torch.get_num_threads()),
        "rehearsal": rehearse,
        "float32": f"matrix products {torch.get_float32_matmul_precision()}, "
        f"TF32 in convolutions {'allowed' if torch.backends.cudnn.allow_tf32 else 'not allowed'}",
        "packages": packages,
        "parts": {},
    }
    console.print(
        f"{document['machine']}\nNot installed: {', '.join(missing) or 'nothing'}.", highlight=False, soft_wrap=True
    )
    for name in names:
        left = TOTAL[long] - RESERVE - (time.monotonic() - start)
        found = run_part(name, min(limits[name], left), rehearse, long)
        document["parts"][name] = found
        console.print(summary(name, found), highlight=False, markup=False, soft_wrap=True)
    document["seconds"] = round(time.monotonic() - start, 1)
    return document


def installed() -> dict[str, str | None]:
    """Module -> version of its package, None where it is missing."""
    found: dict[str, str | None] = {}
    for module, package in PACKAGES.items():
        try:
            there = importlib.util.find_spec(module) is not None
            found[module] = metadata.version(package) if there else None
        except metadata.PackageNotFoundError:
            found[module] = "unknown"
    return found


def run_part(name: str, seconds: float, rehearse: bool, long: bool) -> dict[str, Any]:
    """One part in a process group of its own, which is ended at its limit.

    Returns:
        Its rows, what was left out and what failed, with `state` (`done`, `ended at its limit`, `failed`, `left out`).
    """
    found: dict[str, Any] = {"rows": [], "left_out": [], "failed": [], "limit": round(seconds, 1)}
    if seconds < RESERVE:
        found["left_out"].append({"case": name, "reason": "no time was left"})
        return found | {"state": "left out", "seconds": 0.0}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        report, log = Path(folder) / "report.json", Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                part_command(name, report, seconds, rehearse, long),
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = _wait(process, seconds)
        if report.exists():
            found |= json.loads(report.read_text(encoding="utf-8"))
        if status or found["failed"]:
            found["log"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:]
    found["seconds"] = round(time.monotonic() - begun, 1)
    return found | {"state": _state(status, found)}


def part_command(name: str, report: Path, seconds: float, rehearse: bool, long: bool) -> list[str]:
    """What runs a part, told when to begin nothing new."""
    command = [sys.executable, "-m", "benchmarks.gpu.parts", name, "--report", str(report)]
    command += [f"--seconds={seconds - min(GRACE, seconds / 4)}"]
    return [*command, *(["--rehearse"] if rehearse else []), *(["--long"] if long else [])]


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit status; None where the process had to be ended, with all that it had started."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also on Ctrl+C, and whatever outlived the part itself
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _state(status: int | None, found: Mapping[str, Any]) -> str:
    if status is None:
        return "ended at its limit"
    if status or found["failed"]:
        return "failed"
    return "done" if found["rows"] or not found["left_out"] else "left out"


def summary(name: str, found: Mapping[str, Any]) -> str:
    """A part in some lines: how it ended, and every case that has no row."""
    lines = [f"{name}: {found['state']}, {len(found['rows'])} rows, {found['seconds']} s of {found['limit']} s"]
    return "\n".join([*lines, *(f"  {line}" for line in without_row(found))])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU at tiny sizes, to try the check itself")
    parser.add_argument("--long", action="store_true", help="12 minutes instead of 8")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS), metavar="PART", help="parts")
    parser.add_argument("--limit", type=float, help="seconds for each part, instead of its own limit")
    parser.add_argument("--out", type=Path, help="folder of the results (default: benchmarks/results)")
    parser.add_argument("--pages", type=Path, metavar="JSON", help="write the pages of an earlier check, run nothing")
    options = parser.parse_args(arguments)
    if options.out is None:
        options.out = ROOT / "runs" / "gpu_check_rehearsal" if options.rehearse else RESULTS
    if options.rehearse and options.out.resolve() == RESULTS:
        parser.error("--rehearse measures nothing: give another folder than benchmarks/results with --out.")
    if options.pages is not None and not options.pages.is_file():
        parser.error(f"--pages {options.pages}: no such file. Give the gpu_check.json of an earlier check.")
    if options.pages is None and not options.rehearse and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no CUDA device here. Try the check itself with --rehearse.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts and writes what they found."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.pages is not None:
        document = json.loads(options.pages.read_text(encoding="utf-8"))
        if document["rehearsal"] and options.out.resolve() == RESULTS:
            print(f"{options.pages} is of a rehearsal and no measurement: give another folder with --out.")
            return 2
    else:
        limits = {
            name: options.limit or (REHEARSAL_LIMIT if options.rehearse else both[options.long])
            for name, both in LIMITS.items()
        }
        document = check(options.only, options.rehearse, options.long, limits)
    (options.out / "gpu_check.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_pages(document, options.out)
    print(f"Written to {options.out}")
    return int(any(part["state"] in ("failed", "ended at its limit") for part in document["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
