"""Speed of the fusion metrics beside the reference formulas in NumPy and SciPy, on one generated 480x640 triplet.

Run from the repository root: `python benchmarks/metrics.py`. Prints a table and writes it to benchmarks/results/ as
metrics.csv and metrics.md. Times are the minimum and the median of several runs; other work on the machine disturbs
them. `scripts/gpu_check.sh` adds the rows of a GPU.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # not benchmarks/, where this very file would be found as `metrics`

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.tables import write  # noqa: E402
from ivif.machine.peak_memory import peak_resident  # noqa: E402
from ivif.metrics import METRICS, FusionMetrics, suite  # noqa: E402
from ivif.metrics.functional import Triplet, formula_triplet, ssim, vif  # noqa: E402

Row = dict[str, object]


def triplet(height: int, width: int) -> Triplet:
    """The formula images with noise, so that no window is flat: integers 0..255."""
    generator = torch.Generator().manual_seed(0)
    images = formula_triplet("average", height, width)
    return Triplet(*((x + 8 * torch.randn(x.shape, generator=generator)).round().clamp(0, 255) for x in images))


def as_arrays(images: Triplet) -> list[NDArray[np.float64]]:
    """The first of the images as NumPy has them."""
    return [x[0, 0].double().numpy() for x in (images.fused, images.infrared, images.visible)]


def our_suite(images: Triplet, vif_precision: str = "double") -> dict[str, float]:
    """The same 14 values, nothing shared with an earlier call."""
    fresh = Triplet(images.fused, images.infrared, images.visible)
    convention = suite("cddfuse")
    names = [name for name in convention.names if name != "VIF"]
    values = convention.score(fresh, names) | convention.score(fresh, ["Qcv"])
    values["VIF"] = vif.of(fresh, precision=vif_precision)
    values["SSIM_255"] = ssim.of(fresh, window="uniform")
    return {name: float(value) for name, value in values.items()}


def timed(label: str, run: Callable[[], object], repeats: int, images: int = 1) -> Row:
    """Milliseconds per image, after one run to warm up."""
    run()
    times = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000 / images)
    times.sort()
    return {"what": label, "min_ms": round(times[0], 2), "median_ms": round(times[len(times) // 2], 2)}


def measure(height: int, width: int, repeats: int) -> Iterable[Row]:
    """All rows of the table, one at a time."""
    from benchmarks.metrics_reference import reference_suite  # SciPy: a machine that measures a GPU may lack it

    images = triplet(height, width)
    arrays = as_arrays(images)
    before = peak_resident()
    yield timed("our 14 values", lambda: our_suite(images), repeats)
    peak = peak_resident() - before
    yield {"what": "our 14 values: peak memory above the start, MB", "min_ms": peak // 2**20, "median_ms": ""}
    yield timed("our 14 values, VIF in float32", lambda: our_suite(images, "single"), repeats)
    sixteen = [torch.cat([x / 255] * 16) for x in (images.fused, images.infrared, images.visible)]
    names, sets = [str(i) for i in range(16)], ["a"] * 16
    collection = FusionMetrics([*suite("cddfuse").names, "Qcv"], "cddfuse")
    run = lambda: collection.update(sixteen[0], sixteen[1], sixteen[2], sets, names)  # noqa: E731
    yield timed("FusionMetrics, 13 values, 16 images, each", run, max(2, repeats // 4), images=16)
    yield timed("reference formulas, the 14 values", lambda: reference_suite(*arrays), max(2, repeats // 4))
    for name, entry in METRICS.items():
        fresh = lambda entry=entry: entry(Triplet(images.fused, images.infrared, images.visible))  # noqa: E731
        yield timed(f"{name} alone", fresh, repeats)


def measure_on(device: torch.device, height: int, width: int, repeats: int, count: int = 16) -> Iterable[Row]:
    """Rows of a GPU: the whole suite on a batch and each metric on one triplet, beside the values of the CPU.

    Args:
        device: Where.
        height: Of the triplet, in pixels.
        width: Of the triplet, in pixels.
        repeats: Runs of each, after one to warm up.
        count: Triplets in the batch.
    """
    images = triplet(height, width)
    batch = [torch.cat([x / 255] * count).to(device) for x in (images.fused, images.infrared, images.visible)]
    collection = FusionMetrics([*suite("cddfuse").names, "Qcv"], "cddfuse").to(device)
    names, sets = [str(i) for i in range(count)], ["a"] * count
    run = lambda: collection.update(batch[0], batch[1], batch[2], sets, names)  # noqa: E731
    yield timed(f"FusionMetrics, 13 values, {count} images, each", run, repeats, images=count)
    moved = [x.to(device) for x in (images.fused, images.infrared, images.visible)]
    for name, entry in METRICS.items():
        here, there = float(entry(Triplet(*moved))), float(entry(images))
        fresh = lambda entry=entry: entry(Triplet(*moved))  # noqa: E731
        row = timed(f"{name} alone", fresh, repeats)
        yield row | {"difference": f"{abs(here - there) / max(abs(there), 1e-12):.1e}"}


def main() -> None:
    """Checks that both sides agree, measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    images = triplet(options.size[0], options.size[1])
    from benchmarks.metrics_reference import reference_suite

    reference = reference_suite(*as_arrays(images))
    ours = our_suite(images)
    furthest = max(abs(ours[name] / value - 1) for name, value in reference.items())
    load = os.getloadavg()[0]
    rows = list(measure(options.size[0], options.size[1], options.repeats))
    title = (
        f"Fusion metrics, {options.size[0]}x{options.size[1]}, {options.threads} threads, {platform.machine()}, "
        f"torch {torch.__version__}; ms per image; load average of the machine {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end; largest relative difference to the reference {furthest:.1e}"
    )
    lines = [f"| {row['what']} | {row['min_ms']} | {row['median_ms']} |" for row in rows]
    table = "\n".join([f"# {title}", "", "| what | minimum | median |", "|---|---|---|", *lines, ""])
    print(table)
    write(options.out, "metrics", table, {"metrics": rows})


if __name__ == "__main__":
    main()
