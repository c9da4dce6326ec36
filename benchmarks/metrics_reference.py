"""The reference formulas of the fusion metrics in NumPy and SciPy, as the metrics benchmark times and compares them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

Array = NDArray[np.float64]


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
