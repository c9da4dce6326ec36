"""Speed and memory of MGFusion `base`: training step and inference at 256x256 and 480x640, and where the time goes.

    python benchmarks/mgfusion.py [--compile] [--threads 2] [--quick] [--output benchmarks/results]

Every case runs in its own process. The anchor (Restormer blocks as published, inside the same network) runs beside
them: machines and their load differ, ratios to the anchor much less. Prints tables, writes them as Markdown and CSV.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.mgfusion_case import Case, Measurement
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write

ROOT = Path(__file__).resolve().parent.parent

TARGETS = {
    ("infer", 480, "fp32"): "0.9 s, 1.2 GB",
    ("infer", 480, "compiled"): "0.65 s",
    ("train", 256, "fp32"): "0.9 s, 2.5 GB",
    ("train", 256, "bf16"): "0.65 s",
}
"""Seconds on two CPU threads; memory beyond the process before the network."""


def network_cases(device: str, options: argparse.Namespace) -> list[Case]:
    """The cases of one device; the published form where its training step fits into little memory."""
    variants = ["published", "fp32", "bf16", *(["compiled"] if options.compile else [])]
    sizes = [(256, 256), (480, 640)]
    cases = [
        Case(task, *size, variant, device, threads=options.threads)  # type: ignore[arg-type]
        for task in ("train", "infer")
        for size in sizes
        for variant in variants
        if not (task == "train" and size == (480, 640) and (variant != "fp32" or options.quick))
    ]
    if device == "cpu":
        cases.append(Case("infer", 480, 640, "fp32", device, tuned=False, threads=options.threads))
    return [_limited(case, options.quick) for case in cases]


def stage_cases(device: str, options: argparse.Namespace) -> list[Case]:
    """Reading data and running CLIP, for a training step (256x256) and a prediction (480x640)."""
    cases = []
    for height, width in ((256, 256), (480, 640)):
        cases.append(Case("data", height, width, threads=options.threads, repeats=40, seconds=4.0))
        cases += [
            Case("clip", height, width, device=device, encoder=encoder, threads=options.threads)
            for encoder in ("random-tiny", "random-ViT-B-32")
        ]
    return [_limited(case, options.quick) for case in cases]


def _limited(case: Case, quick: bool) -> Case:
    return dataclasses.replace(case, repeats=3, seconds=1.0) if quick else case


def run_case(case: Case) -> Measurement | None:
    """Measures a case in a process of its own; None, with the reason on stderr, where it fails (too little memory)."""
    command = [sys.executable, "-m", "benchmarks.mgfusion_case", case.to_json()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        print(
            f"{case.task} {case.height}x{case.width} {case.variant} on {case.device} failed: {reason[0]}",
            file=sys.stderr,
        )
        return None
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def network_rows(results: dict[Case, Measurement]) -> list[Row]:
    """One row for each case of the network, with its ratio to the anchor of the same device, task and size."""
    rows = []
    for case, result in results.items():
        if case.task not in ("train", "infer"):
            continue
        anchor = results.get(dataclasses.replace(case, variant="published", tuned=True))
        best = min(result.seconds)
        target = TARGETS.get((case.task, case.height, case.variant), "") if case.device == "cpu" and case.tuned else ""
        rows.append(
            {
                "device": case.device,
                "method": case.method,
                "task": case.task,
                "size": f"{case.height}x{case.width}",
                "variant": case.variant + ("" if case.tuned else ", default malloc"),
                "median s": f"{statistics.median(result.seconds):.3g}",
                "min s": f"{best:.3g}",
                "n": str(len(result.seconds)),
                "anchor / this": f"{min(anchor.seconds) / best:.2f}" if anchor else "",
                "memory MiB": f"{result.peak - result.before:.0f}",
                "process MiB": f"{result.peak:.0f}",
                "target": target,
            }
        )
    return rows


def share_rows(results: dict[Case, Measurement]) -> list[Row]:
    """Where the time of a training step and a prediction goes, for each encoder."""
    rows = []
    best = {case: min(result.seconds) for case, result in results.items()}
    for case, network in best.items():
        if case.task not in ("train", "infer") or case.variant != "fp32" or not case.tuned:
            continue
        if (case.task, case.height) not in (("train", 256), ("infer", 480)):
            continue
        data = next((time for other, time in best.items() if (other.task, other.height) == ("data", case.height)), 0.0)
        for other, clip in best.items():
            if (other.task, other.height, other.device) == ("clip", case.height, case.device):
                total = data + clip + network
                parts = {"data": data, "CLIP": clip, "network": network}
                row = {
                    "device": case.device,
                    "task": f"{case.task} {case.height}x{case.width}",
                    "encoder": other.encoder,
                }
                rows.append(row | {k: f"{1000 * v:.1f} ms ({100 * v / total:.1f} %)" for k, v in parts.items()})
    return rows


def write_tables(folder: Path, machine: str, tables: dict[str, list[Row]]) -> None:
    """Writes the tables as one Markdown file and one CSV file each."""
    text = heading("mgfusion", "MGFusion base, batch 1", machine)
    text += (
        "`memory` is the peak beyond the process before the network existed (`process`: in all; on a GPU, what tensors "
        "held). Times include neither data nor CLIP, whose share is the second table. The anchor is `published`.\n"
    )
    for name, rows in tables.items():
        text += f"\n## {name.capitalize()}\n\n{markdown(rows)}"
    write(folder, "mgfusion", text, {f"mgfusion_{name}": rows for name, rows in tables.items()})


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--compile", action="store_true", help="also the compiled network (half a minute more per case)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--quick", action="store_true", help="three repetitions, for a first look")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the tables")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs every case, prints and writes the tables."""
    options: Any = parse()
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    machine = describe_machine(options.threads)
    cases = [case for device in devices for case in network_cases(device, options) + stage_cases(device, options)]
    results: dict[Case, Measurement] = {}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(cases))
        for case in cases:
            label = f"{case.device} {case.task} {case.height}x{case.width} {case.encoder or case.variant}"
            progress.update(task, description=label)
            result = run_case(case)
            if result is not None:
                results[case] = result
            progress.advance(task)
    tables = {"network": network_rows(results), "shares": share_rows(results)}
    tables = {name: rows for name, rows in tables.items() if rows}
    for name, rows in tables.items():
        show(f"{name} ({machine})", rows)
    write_tables(options.output, machine, tables)
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
