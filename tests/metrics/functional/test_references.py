"""Metrics without golden values against independent implementations: torchmetrics, SciPy, and plain loops."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
    visual_information_fidelity,
)

from ivif.metrics.functional import (
    cross_entropy,
    edge_intensity,
    feature_mutual_information,
    formula_triplet,
    ms_ssim,
    mutual_information,
    nabf,
    normalized_mutual_information,
    peak_signal_to_noise_ratio,
    qcb,
    qy,
    ssim,
    vif,
)

Array = NDArray[np.float64]


def _arrays(fusion: str = "average", height: int = 192, width: int = 256) -> tuple[Array, Array, Array]:
    fused, infrared, visible = (image[0, 0].double().numpy() for image in formula_triplet(fusion, height, width))
    return fused, infrared, visible


def test_vif_is_that_of_torchmetrics() -> None:
    fused, infrared, visible = (image.double() for image in formula_triplet("average"))
    expected = sum(visual_information_fidelity(fused, source).item() for source in (infrared, visible))
    assert vif(fused, infrared, visible).item() == pytest.approx(expected, rel=1e-6)
    assert vif(fused, infrared, visible, precision="single").item() == pytest.approx(expected, rel=1e-4)


def test_vif_of_a_constant_source_counts_as_kept() -> None:
    fused, infrared, _ = formula_triplet("average")
    one_sided = vif(fused, infrared, torch.full_like(fused, 9.0)).item()
    assert one_sided == pytest.approx(1 + vif(fused, infrared, infrared).item() / 2, rel=1e-6)


def test_ssim_is_the_inner_part_of_that_of_torchmetrics() -> None:
    fused, infrared, visible = (image.double() for image in formula_triplet("average"))
    expected = 0.0
    for source in (infrared, visible):
        _, full = structural_similarity_index_measure(fused, source, data_range=255.0, return_full_image=True)
        expected += full[..., 5:-5, 5:-5].mean().item()
    assert ssim(fused, infrared, visible).item() == pytest.approx(expected, rel=1e-6)


def test_ms_ssim_is_close_to_that_of_torchmetrics() -> None:
    fused, infrared, visible = (image.double() for image in formula_triplet("average", 352, 416))
    expected = sum(
        multiscale_structural_similarity_index_measure(fused, source, data_range=255.0, normalize="relu").item()
        for source in (infrared, visible)
    )
    assert ms_ssim(fused, infrared, visible).item() == pytest.approx(expected, rel=1e-2)


def test_edge_intensity_and_qcb_by_scipy() -> None:
    fused, infrared, visible = _arrays(height=64, width=81)
    slopes = [ndimage.sobel(fused, axis=axis, mode="nearest") for axis in (0, 1)]
    images = formula_triplet("average", 64, 81)
    assert edge_intensity(images[0]).item() == pytest.approx(np.hypot(*slopes).mean(), rel=1e-5)
    contrast = [_chen_blum_contrast(image) for image in (fused, infrared, visible)]
    kept = [np.minimum(contrast[0], source) / np.maximum(contrast[0], source) for source in contrast[1:]]
    squares = [source**2 for source in contrast[1:]]
    expected = ((squares[0] * kept[0] + squares[1] * kept[1]) / (squares[0] + squares[1] + 1e-10)).mean()
    assert qcb(*images).item() == pytest.approx(expected, rel=1e-3)


def _chen_blum_contrast(image: Array) -> Array:
    height, width = image.shape
    image = np.floor((image - image.min()) / np.ptp(image) * 255 + 0.5)
    grids = [np.fft.fftshift(np.fft.fftfreq(side)) * 2 * side / 30 for side in (height, width)]
    radius = np.hypot(grids[0][:, None], grids[1][None])
    response = np.exp(-((radius / 15.3870) ** 2)) - 0.7622 * np.exp(-((radius / 1.3456) ** 2))
    image = np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(image)) * response)).real
    y, x = np.mgrid[-15:16, -15:16]
    blurred = [
        ndimage.correlate(image, np.exp(-(x * x + y * y) / (2 * s * s)) / (2 * np.pi * s * s), mode="constant")
        for s in (2, 4)
    ]
    contrast = np.abs(blurred[0] / blurred[1] - 1)
    return np.asarray(contrast**3 / (contrast**2 + 1e-4))


def test_qy_by_scipy_where_nothing_is_flat() -> None:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (3, 1, 1, 24, 25), generator=generator).double()
    images[0] = (images[1] + images[2]) / 2
    fused, infrared, visible = (image[0, 0].numpy() for image in images)
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2

    def local(x: Array) -> Array:
        return np.asarray(ndimage.correlate(x, window)[3:-3, 3:-3])

    def similarity(a: Array, b: Array) -> tuple[Array, Array]:
        means, variances = (local(a), local(b)), [local(x * x) - local(x) ** 2 for x in (a, b)]
        covariance = local(a * b) - means[0] * means[1]
        luminance = 2 * means[0] * means[1] / (means[0] ** 2 + means[1] ** 2)
        return luminance * 2 * covariance / (variances[0] + variances[1]), variances[0] / (variances[0] + variances[1])

    sources, share = similarity(infrared, visible)
    first, second = similarity(infrared, fused)[0], similarity(visible, fused)[0]
    expected = np.where(sources >= 0.75, share * first + (1 - share) * second, np.maximum(first, second)).mean()
    assert qy(*images).item() == pytest.approx(expected, rel=1e-6)


def test_histogram_metrics_by_counting() -> None:
    fused, infrared, visible = _arrays("maximum")
    images = formula_triplet("maximum")

    def entropy(*values: Array) -> float:
        counts = np.unique(np.stack([v.ravel() for v in values]), axis=1, return_counts=True)[1] / fused.size
        return float(-(counts * np.log2(counts)).sum())

    shared = [entropy(fused) + entropy(source) - entropy(fused, source) for source in (infrared, visible)]
    assert mutual_information(*images).item() == pytest.approx(sum(shared))
    assert mutual_information(*images, base="nats", stretch=True).item() == pytest.approx(sum(shared) * math.log(2))
    hossny = sum(2 * s / (entropy(fused) + entropy(x)) for s, x in zip(shared, (infrared, visible), strict=True))
    assert normalized_mutual_information(*images).item() == pytest.approx(hossny)
    expected = 0.0
    fused_counts = np.bincount(fused.astype(int).ravel(), minlength=256) / fused.size
    for source in (infrared, visible):
        counts = np.bincount(source.astype(int).ravel(), minlength=256) / fused.size
        both = (counts > 0) & (fused_counts > 0)
        expected += float((counts[both] * np.log2(counts[both] / fused_counts[both])).sum()) / 2
    assert cross_entropy(*images).item() == pytest.approx(expected)


def test_psnr_of_a_root_and_background_of_nabf() -> None:
    fused, infrared, visible = _arrays()
    images = formula_triplet("average")
    errors = [np.sqrt(((fused - source) ** 2).sum()) / fused.size for source in (infrared, visible)]
    expected = 20 * math.log10(255 / math.sqrt(sum(errors) / 2))
    assert peak_signal_to_noise_ratio(*images, variant="root").item() == pytest.approx(expected)
    noisy = images[0] + 40 * (torch.arange(256) // 2 % 2)
    assert nabf(noisy, *images[1:]).item() > nabf(*images).item() > nabf(*images, background_weight=0.0).item()


def test_fmi_by_loops_over_windows() -> None:
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 4, (3, 1, 1, 7, 8), generator=generator).float()
    images[1, ..., :3] = images[0, ..., :3]
    images[2, ..., 4:] = 2.0
    fused, infrared, visible = (image[0, 0].double().numpy() for image in images)
    scores = [
        (
            _window_fmi(infrared[r : r + 3, c : c + 3], fused[r : r + 3, c : c + 3])
            + _window_fmi(visible[r : r + 3, c : c + 3], fused[r : r + 3, c : c + 3])
        )
        / 2
        for r in range(5)
        for c in range(6)
    ]
    assert feature_mutual_information(*images).item() == pytest.approx(np.mean(scores), rel=1e-7)


def test_fmi_of_windows_of_one_value_does_not_depend_on_where_they_are() -> None:
    images = [torch.full((2, 1, side, side + 1), value) for side, value in ((9, 100.0), (9, 98.0), (9, 7.0))]
    assert feature_mutual_information(*images).tolist() == [1.0, 1.0]
    images[0][1, 0, 4:] += 30 * torch.rand(5, 10, generator=torch.Generator().manual_seed(0))
    whole = feature_mutual_information(*images)
    assert whole[1] < 0.9
    assert feature_mutual_information(*(image[1:] for image in images)).item() == pytest.approx(whole[1].item())


def _window_fmi(source: Array, fused: Array) -> float:
    if (source == fused).all():
        return 1.0
    p, q = (_distribution(window) for window in (source, fused))
    cp, cq = np.cumsum(p), np.cumsum(q)
    a, b = p - p.mean(), q - q.mean()
    c = 0.0 if (a * b).sum() == 0 else float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))
    places = np.arange(1, 10)
    deviations = [math.sqrt(max(0.0, (places**2 * x).sum() - (places * x).sum() ** 2)) for x in (p, q)]
    bound = np.zeros((10, 10))
    for i in range(9):
        for j in range(9):
            bound[i + 1, j + 1] = min(cq[i], cp[j]) if c >= 0 else max(0.0, cq[i] + cp[j] - 1)
    covariance = (bound[1:, 1:] - np.outer(cq, cp)).sum()
    weight = 0.0 if c == 0 or 0 in deviations else c * deviations[0] * deviations[1] / covariance
    joint = weight * np.diff(np.diff(bound, axis=0), axis=1) + (1 - weight) * np.outer(q, p)
    entropies = [-(x[x > 0] * np.log2(x[x > 0])).sum() for x in (p, q)]
    nonzero = joint[joint != 0]
    shared = sum(entropies) + (nonzero * np.log2(np.abs(nonzero))).sum()
    return 0.0 if shared == 0 else float(2 * shared / sum(entropies))


def _distribution(window: Array) -> Array:
    values = window.ravel(order="F")
    unit = np.ones(9) if np.ptp(values) == 0 else (values - values.min()) / np.ptp(values)
    return np.asarray(unit / unit.sum())
