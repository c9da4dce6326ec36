"""Speed and memory of the contourlet transform (levels 0, 3, 3, 3), beside a plain implementation in the same run.

    python benchmarks/contourlet.py [--threads 2] [--repeats 30] [--output benchmarks/results]

Every case runs in its own process. The anchor is `benchmarks/contourlet_anchor.py`: the definition in plain PyTorch, in
float32. (pycontourlet could not be installed.) Prints a table and writes it as contourlet.md and contourlet.csv.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not benchmarks/, where this very file would be found as `contourlet`

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.contourlet_anchor import plain_contourlet, plain_wedges  # noqa: E402
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.image_ops.contourlet import ContourletBands, contourlet, inverse_contourlet  # noqa: E402
from ivif.machine.allocator import tune_malloc  # noqa: E402
from ivif.machine.peak_memory import peak_resident  # noqa: E402
from ivif.models.classic import contourlet_fusion  # noqa: E402

Bands = Sequence[Tensor]

FORMS = ("plain", "decimated", "nonsubsampled")
SHAPES = ((8, 224, 224), (1, 224, 224), (1, 480, 640))
WARM_UP = 3
SECONDS = 4.0
TARGETS = {(8, 224): 5.0, (1, 480): 40.0}
"""Milliseconds per image, forward, decimated, on two CPU threads; backward may take twice its forward."""


@dataclass(frozen=True)
class Case:
    """What to measure: a form of the transform at a batch size and size, with threads and repetitions."""

    form: str
    batch: int
    height: int
    width: int
    device: str
    threads: int
    repeats: int


@dataclass(frozen=True)
class Measurement:
    """Milliseconds per image by task; peak memory in MiB beyond the process before; milliseconds of the first call."""

    times: dict[str, list[float]]
    memory: float
    first: float


def measure(case: Case) -> Measurement:
    """Measures a case in this process: forward without gradient, then forward and backward, then the inverse."""
    tune_malloc()  # as main.py does
    torch.set_num_threads(case.threads)
    image = torch.rand(case.batch, 1, case.height, case.width, device=case.device)
    before = _held(case.device)
    start = time.perf_counter()
    transform = make_transform(case)
    with torch.no_grad():
        bands = transform(image)
    _wait(case.device)
    first = 1000 * (time.perf_counter() - start)
    weights = [torch.randn_like(band) for band in bands]
    times: dict[str, list[float]] = {"forward": [], "backward": [], "inverse": []}
    for _ in _repetitions(case):
        tracked = transform(image.clone().requires_grad_())
        times["backward"].append(_timed(case, partial(torch.autograd.backward, tracked, weights)))
        with torch.no_grad():
            times["forward"].append(_timed(case, partial(transform, image)))
            if case.form != "plain":
                times["inverse"].append(_timed(case, partial(_inverse, bands, case.form == "decimated")))
    times = {name: values[WARM_UP:] for name, values in times.items() if values}
    return Measurement(times, _held(case.device) - before, first)


def measure_fusion(case: Case) -> Measurement:
    """Measures the classic contourlet fusion of a pair."""
    tune_malloc()
    torch.set_num_threads(case.threads)
    pair = torch.rand(2, case.batch, 1, case.height, case.width, device=case.device)
    before = _held(case.device)
    run = partial(contourlet_fusion, pair[0], pair[1], case.form == "decimated")
    with torch.no_grad():
        times = [_timed(case, run) for _ in _repetitions(case)]
    return Measurement({"fusion of a pair": times[WARM_UP:]}, _held(case.device) - before, times[0])


def make_transform(case: Case) -> Callable[[Tensor], Bands]:
    """The transform of a form as a function from images to bands."""
    if case.form != "plain":
        return lambda image: _flat(contourlet(image, decimate=case.form == "decimated"))
    wedges = [
        [
            (response.to(case.device), lattice)
            for response, lattice in plain_wedges(3, case.height >> s, case.width >> s)
        ]
        for s in range(3)
    ]

    def transform(image: Tensor) -> Bands:
        lowpass, scales = plain_contourlet(image, wedges)
        return [lowpass, *(band for scale in scales for band in scale)]

    return transform


def _flat(bands: ContourletBands) -> Bands:
    return [bands.lowpass, *(stack for pair in bands.directional for stack in pair)]


def _inverse(bands: Bands, decimated: bool) -> Tensor:
    return inverse_contourlet(ContourletBands(bands[0], tuple(zip(bands[1::2], bands[2::2], strict=True)), decimated))


def _repetitions(case: Case) -> Iterator[int]:
    """Those to warm up and the others, fewer where they would take longer than the limit."""
    start = time.perf_counter()
    for repeat in range(WARM_UP + case.repeats):
        if repeat < WARM_UP + 5 or time.perf_counter() - start < SECONDS:
            yield repeat


def _timed(case: Case, run: Callable[[], object]) -> float:
    """Milliseconds per image."""
    _wait(case.device)
    start = time.perf_counter()
    run()
    _wait(case.device)
    return 1000 * (time.perf_counter() - start) / case.batch


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _held(device: str) -> float:
    """The peak of memory so far in MiB: of the process, or of tensors on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_resident() / 2**20


def table_rows(results: dict[Case, Measurement]) -> list[Row]:
    """One row for each thing done in each case, with its ratio to the anchor's of the same shape."""
    rows = []
    for case, result in results.items():
        anchor = next(
            own
            for other, own in results.items()
            if other.form == "plain"
            and (other.device, other.batch, other.height) == (case.device, case.batch, case.height)
        )
        for name, times in result.times.items():
            reached = statistics.median(times)
            target = _target(case, name, result)
            rows.append(
                {
                    "device": case.device,
                    "form": case.form,
                    "task": name,
                    "size": f"{case.batch} x {case.height}x{case.width}",
                    "median ms": f"{reached:.2f}",
                    "min ms": f"{min(times):.2f}",
                    "anchor / this": f"{statistics.median(anchor.times[name]) / reached:.1f}"
                    if name in anchor.times
                    else "",
                    "memory MiB": f"{result.memory:.0f}",
                    "first call ms": f"{result.first:.0f}",
                    "target": f"{target:.1f} ms" if target else "",
                    "reached": ("yes" if reached <= target else "no") if target else "",
                }
            )
    return rows


def _target(case: Case, name: str, result: Measurement) -> float:
    if case.form != "decimated" or case.device != "cpu":
        return 0.0
    if name == "backward":
        return 2.0 * statistics.median(result.times["forward"])
    return TARGETS.get((case.batch, case.height), 0.0) if name == "forward" else 0.0


def write_rows(folder: Path, machine: str, rows: list[Row]) -> None:
    """Writes the table as Markdown and CSV."""
    about = (
        "Milliseconds per image, median and minimum over the repetitions. `memory` is the peak of all tasks of a case "
        "beyond the process before them, filters and bands included; the first call makes the filters. The anchor, "
        "`plain`, is the definition in plain PyTorch: a convolved pyramid, and every subband at full size before it is "
        "sampled. (pycontourlet could not be installed.)\n\n"
    )
    text = heading("contourlet", "Contourlet transform, levels 0, 3, 3, 3, float32", machine) + about + markdown(rows)
    write(folder, "contourlet", text, {"contourlet": rows})


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=30,
        help="repetitions after three to warm up, 5 to this many in four seconds (default: 30)",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the table")
    return parser.parse_args(arguments)


def main() -> None:
    """Measures every case in a process of its own, prints and writes the table."""
    options = parse()
    machine = describe_machine(options.threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    shared = options.threads, options.repeats
    cases = [Case(form, *shape, device, *shared) for device, shape, form in product(devices, SHAPES, FORMS)]

    results: dict[Case, Measurement] = {}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for case in cases:
            results[case] = pool.submit(measure, case).result()
            if case.height == 480 and case.form != "plain":
                results[case].times.update(pool.submit(measure_fusion, case).result().times)
    rows = table_rows(results)
    show(f"Contourlet transform ({machine})", rows)
    write_rows(options.output, machine, rows)
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
