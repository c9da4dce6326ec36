"""Seconds and peak memory of a training step under each option, beside the plain step in the same run.

    python benchmarks/training_options.py [--preset light|base] [--side 128] [--batch 4] [--threads 2] [--repeats 9]
                                          [--methods mgfusion text_to_pixels promptfusion] [--without-compiler]
                                          [--output benchmarks/results]

A step is forward, MGFusion's two losses, backward, and Adam, on one batch of noise. Each case runs in a process of its
own (memory is that process's peak beyond what it held before the network existed; on a GPU, what tensors held), the
cases of a method take turns, and a ratio is the median of the ratios within a turn. A GPU gets rows of its own where
there is one. Writes training_options.md and .csv.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks.mgfusion_case import MIB, resident_peak  # noqa: E402
from benchmarks.networks import METHODS, build  # noqa: E402
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.losses.gradient import gradient_max_loss  # noqa: E402
from ivif.losses.intensity import intensity_max_loss  # noqa: E402
from ivif.machine.allocator import tune_malloc  # noqa: E402


@dataclass(frozen=True)
class Option:
    """What a step does otherwise.

    Args:
        checkpoint: Blocks' inside is computed again in the backward pass.
        compiled: As `--compilation.enabled true` does it.
        precision: Of autocast; float16 with a gradient scaler.
        parts: The batch is cut, its gradients are summed.
        clip: Largest norm of the gradient; 0 does not clip.
    """

    checkpoint: bool = False
    compiled: bool = False
    precision: torch.dtype = torch.float32
    parts: int = 1
    clip: float = 0.0


OPTIONS: Final[dict[str, Option]] = {
    "plain": Option(),
    "bf16": Option(precision=torch.bfloat16),
    "fp16": Option(precision=torch.float16),
    "accumulate 2": Option(parts=2),
    "clip": Option(clip=1.0),
    "checkpoint_blocks": Option(checkpoint=True),
    "compiled": Option(compiled=True),
    "compiled, bf16": Option(compiled=True, precision=torch.bfloat16),
    "checkpoint_blocks, bf16": Option(checkpoint=True, precision=torch.bfloat16),
}


def make_step(method: str, option: Option, arguments: argparse.Namespace) -> Callable[[], None]:
    """One training step on a fixed batch."""
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    network, fuse = build(method, arguments.preset, option.checkpoint)
    network.to(device).train()
    if option.compiled:
        for part in network.children():
            part.compile()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    images = torch.rand(arguments.batch, 4, arguments.side, arguments.side, device=device)
    scaler = torch.amp.GradScaler(device.type, enabled=option.precision == torch.float16)
    autocast = torch.autocast(device.type, option.precision, enabled=option.precision != torch.float32)

    def step() -> None:
        optimizer.zero_grad()
        for part in images.chunk(option.parts):
            with autocast:
                fused = fuse(network, part)
            infrared, visible = part[:, :1], part[:, 1:2]
            loss = gradient_max_loss(fused, infrared, visible) + 0.2 * intensity_max_loss(fused, infrared, visible)
            torch.autograd.backward(scaler.scale(loss / option.parts))
        if option.clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), option.clip)
        scaler.step(optimizer)
        scaler.update()

    return step


def serve(arguments: argparse.Namespace) -> None:
    """A process of one case: a step for each line on standard input, its seconds and the peak memory out."""
    tune_malloc()
    torch.set_num_threads(arguments.threads)
    on_gpu = arguments.device == "cuda"
    before = resident_peak()
    step = make_step(arguments.method, OPTIONS[arguments.option], arguments)
    for _ in range(3):
        step()
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() / MIB if on_gpu else resident_peak() - before
        print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def measure(method: str, device: str, arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Option -> measurements; the processes live side by side and take turns, so that nothing runs meanwhile."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("preset", "side", "batch", "threads")]
    base = [sys.executable, __file__, *sizes, f"--device={device}", f"--method={method}"]
    chosen = [name for name in arguments.options if device == "cuda" or OPTIONS[name].precision != torch.float16]
    servers: dict[str, Any] = {}
    found: dict[str, list[dict[str, float]]] = {option: [] for option in chosen}
    for option in chosen:  # one after the other, so that no compiler disturbs another
        servers[option] = subprocess.Popen(
            [*base, f"--option={option}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
        )
        _ask(servers[option])
    for _ in range(arguments.repeats):
        for option, server in servers.items():
            found[option].append(_ask(server))
    for server in servers.values():
        server.stdin.close()
        server.wait()
    return found


def _ask(server: Any) -> dict[str, float]:
    server.stdin.write("\n")
    server.stdin.flush()
    answer: dict[str, float] = json.loads(server.stdout.readline())
    return answer


def table_rows(method: str, device: str, found: dict[str, list[dict[str, float]]]) -> list[Row]:
    """One row for each option."""
    plain = [measurement["seconds"] for measurement in found["plain"]]
    memory = max(measurement["peak"] for measurement in found["plain"])
    rows = []
    for option, measurements in found.items():
        seconds = [measurement["seconds"] for measurement in measurements]
        ratios = sorted(own / other for own, other in zip(seconds, plain, strict=True))
        peak = max(measurement["peak"] for measurement in measurements)
        rows.append(
            {
                "method": method,
                "device": device,
                "option": option,
                "seconds": f"{statistics.median(seconds):.3f}",
                "least to most": f"{min(seconds):.3f} to {max(seconds):.3f}",
                "time / plain": f"{statistics.median(ratios):.2f}",
                "memory (MiB)": f"{peak:,.0f}",
                "memory / plain": f"{peak / memory:.2f}",
            }
        )
    return rows


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["light", "base"], default="light")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--without-compiler", action="store_true", help="leave out what takes minutes to compile")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    for name in ("device", "method", "option"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.options = [name for name, each in OPTIONS.items() if not (each.compiled and arguments.without_compiler)]
    return arguments


def main() -> None:
    """Measures, prints, writes."""
    arguments = parse()
    if arguments.option:
        serve(arguments)
        return
    machine = describe_machine(arguments.threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = [
        row
        for device in devices
        for method in arguments.methods
        for row in table_rows(method, device, measure(method, device, arguments))
    ]
    show("One training step under each option", rows)
    text = heading("training_options", "One training step under each option", machine)
    about = (
        f"\nPreset `{arguments.preset}`, batch {arguments.batch} of {arguments.side}x{arguments.side}. Compiling "
        "(before the steps that are timed) takes no part in the times; its memory is in the peak.\n"
    )
    write(arguments.output, "training_options", text + markdown(rows) + about, {"training_options": rows})


if __name__ == "__main__":
    main()
