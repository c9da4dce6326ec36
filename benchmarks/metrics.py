"""Speed of the fusion metrics beside the reference formulas in NumPy and SciPy, on one generated 480x640 triplet.

Run from the repository root: `python benchmarks/metrics.py`. Prints a table and writes it to benchmarks/results/ as
metrics.csv and metrics.md. Times are the minimum and the median of several runs; other work on the machine disturbs
them.
"""

import argparse
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # not benchmarks/, where this very file would be found as `metrics`

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy import ndimage, signal  # noqa: E402

from benchmarks.tables import write  # noqa: E402
from metrics import METRICS, FusionMetrics, suite  # noqa: E402
from metrics.functional import Triplet, formula_triplet, ssim, vif  # noqa: E402

Array = NDArray[np.float64]
Row = dict[str, object]


def triplet(height: int, width: int) -> Triplet:
    """The formula images with noise, so that no window is flat: integers 0..255."""
    generator = torch.Generator().manual_seed(0)
    images = formula_triplet("average", height, width)
    return Triplet(*((x + 8 * torch.randn(x.shape, generator=generator)).round().clamp(0, 255) for x in images))


def reference_suite(fused: Array, infrared: Array, visible: Array) -> dict[str, float]:
    """The 13 values of the `cddfuse` suite (SSIM in both data ranges) and Qcv, by their formulas."""
    sources = (infrared, visible)
    errors = [((fused - s) ** 2).mean() for s in sources]
    slopes = np.gradient(fused)
    histogram = np.bincount(fused.astype(int).ravel(), minlength=256) / fused.size
    return {
        "EN": float(-(histogram[histogram > 0] * np.log2(histogram[histogram > 0])).sum()),
        "SD": float(fused.std()),
        "SF": float(np.sqrt((np.diff(fused, axis=0) ** 2).mean() + (np.diff(fused, axis=1) ** 2).mean())),
        "AG": float(np.sqrt((slopes[0] ** 2 + slopes[1] ** 2) / 2).mean()),
        "MI": sum(_mutual_information(fused, s) for s in sources),
        "SCD": _pearson(fused - visible, infrared) + _pearson(fused - infrared, visible),
        "CC": sum(_pearson(fused, s) for s in sources) / 2,
        "MSE": float(sum(errors) / 2),
        "PSNR": float(10 * np.log10(fused.max() ** 2 / (sum(errors) / 2))),
        "VIF": sum(_vifp(s, fused) for s in sources),
        "Qabf": _qabf(fused, *sources),
        "SSIM": sum(_ssim(s, fused, 2.0) for s in sources),
        "SSIM_255": sum(_ssim(s, fused, 255.0) for s in sources),
        "Qcv": _qcv(fused, *sources),
    }


def _pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _mutual_information(a: Array, b: Array) -> float:
    joint = np.histogram2d(a.ravel(), b.ravel(), bins=256, range=((0, 256), (0, 256)))[0] / a.size
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / outer[joint > 0])).sum())


def _vifp(source: Array, fused: Array) -> float:
    gained = available = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
        window = np.exp(-(x * x + y * y) / (2 * (size / 5) ** 2))
        window /= window.sum()

        def local(image: Array, window: Array = window) -> Array:
            return np.asarray(signal.convolve2d(image, window, mode="valid"))

        if scale > 1:
            source, fused = local(source)[::2, ::2], local(fused)[::2, ::2]
        means = local(source), local(fused)
        v1 = np.maximum(local(source * source) - means[0] ** 2, 0)
        v2 = np.maximum(local(fused * fused) - means[1] ** 2, 0)
        gain = (local(source * fused) - means[0] * means[1]) / (v1 + 1e-10)
        noise = np.where(gain < 0, v2, v2 - gain * (local(source * fused) - means[0] * means[1]))
        gain = np.maximum(gain, 0)
        gained += float(np.log10(1 + gain**2 * v1 / (np.maximum(noise, 1e-10) + 2)).sum())
        available += float(np.log10(1 + v1 / 2).sum())
    return gained / available


def _qabf(fused: Array, *sources: Array) -> float:
    def edges(image: Array) -> tuple[Array, Array]:
        across = signal.convolve2d(image, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], mode="same")
        down = signal.convolve2d(image, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], mode="same")
        upright = across == 0
        return np.hypot(across, down), np.where(upright, np.pi / 2, np.arctan(down / np.where(upright, 1, across)))

    strength, angle = edges(fused)
    kept = total = 0.0
    for source in sources:
        g, a = edges(source)
        ratio = np.where(g == strength, strength, np.minimum(g, strength) / np.maximum(np.maximum(g, strength), 1e-30))
        aligned = 1 - np.abs(a - angle) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (aligned - 0.8)))
        kept, total = kept + float((quality * g).sum()), total + float(g.sum())
    return kept / total


def _ssim(source: Array, fused: Array, data_range: float) -> float:
    def local(image: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(image, 7))

    means, sample = (local(source), local(fused)), 49 / 48
    v1, v2 = sample * (local(source**2) - means[0] ** 2), sample * (local(fused**2) - means[1] ** 2)
    covariance = sample * (local(source * fused) - means[0] * means[1])
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * means[0] * means[1] + c1) / (means[0] ** 2 + means[1] ** 2 + c1)
    return float((luminance * (2 * covariance + c2) / (v1 + v2 + c2))[3:-3, 3:-3].mean())


def _qcv(fused: Array, *sources: Array) -> float:
    stretched = [np.floor((x - x.min()) / np.ptp(x) * 255 + 0.5) for x in (fused, *sources)]
    grids = [np.fft.fftfreq(side) * side / 4 for side in fused.shape]
    radius = np.hypot(grids[0][:, None], grids[1][None])
    sensitivity = 2.6 * (0.0192 + 0.144 * radius) * np.exp(-((0.144 * radius) ** 1.1))
    weighted = total = 0.0
    for source in stretched[1:]:
        strength = np.hypot(ndimage.sobel(source, 0, mode="constant"), ndimage.sobel(source, 1, mode="constant"))
        seen = np.fft.ifft2(np.fft.fft2(source - stretched[0]) * sensitivity).real
        weights, distances = _blocks(strength**5).sum((1, 3)), _blocks(seen**2).sum((1, 3)) / 256
        weighted, total = weighted + float((weights * distances).sum()), total + float(weights.sum())
    return weighted / total


def _blocks(x: Array) -> Array:
    x = np.pad(x, ((0, -x.shape[0] % 16), (0, -x.shape[1] % 16)))
    return x.reshape(x.shape[0] // 16, 16, x.shape[1] // 16, 16)


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
    images = triplet(height, width)
    arrays = [x[0, 0].double().numpy() for x in (images.fused, images.infrared, images.visible)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield timed("our 14 values", lambda: our_suite(images), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    yield {"what": "our 14 values: peak memory above the start, MB", "min_ms": peak // 1024, "median_ms": ""}
    yield timed("our 14 values, VIF in float32", lambda: our_suite(images, "single"), repeats)
    sixteen = [torch.cat([x / 255] * 16) for x in (images.fused, images.infrared, images.visible)]
    names, sets = [str(i) for i in range(16)], ["a"] * 16
    collection = FusionMetrics([*suite("cddfuse").names, "Qcv"], "cddfuse")
    run = lambda: collection.update(sixteen[0], sixteen[1], sixteen[2], sets, names)  # noqa: E731
    yield timed("FusionMetrics, 13 values, 16 images, each", run, max(2, repeats // 4), images=16)
    yield timed("reference formulas, the 14 values", lambda: reference_suite(*arrays), max(2, repeats // 4))
    for name, entry in METRICS.items():
        fresh = lambda entry=entry: entry(Triplet(images.fused, images.infrared, images.visible))  # noqa: E731
        yield timed(f"{name} alone", fresh, 2 if name == "FMI" else repeats)
    if torch.cuda.is_available():
        on_gpu = FusionMetrics([*suite("cddfuse").names, "Qcv"], "cddfuse").to("cuda")
        moved = [x.to("cuda") for x in sixteen]
        run = lambda: on_gpu.update(moved[0], moved[1], moved[2], sets, names)  # noqa: E731
        yield timed("FusionMetrics on a GPU, 13 values, 16 images, each", run, repeats, images=16)


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
    reference = reference_suite(*(x[0, 0].double().numpy() for x in (images.fused, images.infrared, images.visible)))
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
