"""What all metrics have in common: shapes, sizes, precision, gradients, errors."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ivif.metrics import CONVENTIONS, METRICS
from ivif.metrics.functional import (
    Triplet,
    average_gradient,
    edge_intensity,
    formula_triplet,
    qabf,
    qcv,
    spatial_frequency,
    ssim,
    standard_deviation,
    vif,
)

SMALLEST = {"VIF": 41, "MS_SSIM": 176, "SSIM": 11, "Qy": 7}
TINY_ENOUGH = [name for name in METRICS if SMALLEST.get(name, 1) <= 32]


def _random(height: int, width: int, seed: int = 0, batch: int = 1) -> Triplet:
    generator = torch.Generator().manual_seed(seed)
    return Triplet(*(torch.randint(0, 256, (3, batch, 1, height, width), generator=generator).float()))


@pytest.mark.parametrize("name", list(METRICS))
def test_batches_score_as_their_images_and_odd_sizes_work(name: str) -> None:
    side = max(SMALLEST.get(name, 1), 33)
    whole = _random(side, side + 14, batch=3)
    together = METRICS[name](whole)
    images = zip(whole.fused, whole.infrared, whole.visible, strict=True)
    alone = [METRICS[name](Triplet(*(image.unsqueeze(0) for image in triplet))).item() for triplet in images]
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    assert together.tolist() == pytest.approx(alone, rel=1e-6)
    assert len(set(alone)) == 3


@pytest.mark.parametrize("name", TINY_ENOUGH)
def test_32_pixels_are_enough(name: str) -> None:
    assert torch.isfinite(METRICS[name](_random(32, 32))).all()


@pytest.mark.parametrize(("name", "smallest"), SMALLEST.items())
def test_smaller_images_are_refused_by_name(name: str, smallest: int) -> None:
    assert torch.isfinite(METRICS[name](_random(smallest, smallest))).all()
    with pytest.raises(ValueError, match=f"{smallest}x{smallest} pixels, got {smallest - 1}x99"):
        METRICS[name](_random(smallest - 1, 99))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    full = formula_triplet("average")
    half = Triplet(*(image.to(dtype) for image in full))  # integers to 256 are exact in both types
    for name in ("SD", "AG", "Qabf", "SSIM", "VIF", "MI"):
        assert METRICS[name](half).item() == METRICS[name](Triplet(*full)).item()


@pytest.mark.parametrize("metric", [ssim, vif, qabf, qcv], ids=["ssim", "vif", "qabf", "qcv"])
def test_gradients_of_metrics_with_sources(metric: Callable[..., Tensor]) -> None:
    side = 42 if metric is vif else 16
    generator = torch.Generator().manual_seed(1)
    infrared, visible, start = torch.rand(3, 1, 1, side, side, generator=generator, dtype=torch.float64) * 255
    options = {"stretch": False} if metric is qcv else {}
    patch = (slice(None), slice(None), slice(5, 8), slice(4, 7))

    def of_patch(values: Tensor) -> Tensor:
        fused = start.clone()
        fused[patch] = values
        return metric(fused, infrared, visible, **options)

    # the logarithms of VIF are taken in float32
    step, absolute, relative = (1e-2, 1e-4, 1e-2) if metric is vif else (1e-4, 1e-5, 1e-3)
    values = start[patch].clone().requires_grad_()
    assert torch.autograd.gradcheck(of_patch, (values,), eps=step, atol=absolute, rtol=relative)


@pytest.mark.parametrize("metric", [standard_deviation, spatial_frequency, average_gradient, edge_intensity])
def test_gradients_of_metrics_of_the_fused_image(metric: Callable[[Tensor], Tensor]) -> None:
    fused = torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 255
    assert torch.autograd.gradcheck(metric, (fused.requires_grad_(),), eps=1e-4)


@pytest.mark.parametrize("name", ["SD", "SF", "AG", "EI", "SSIM", "VIF", "Qabf"])
def test_gradients_are_finite_on_flat_images(name: str) -> None:
    _, infrared, visible = formula_triplet("average", 48, 48)
    fused = torch.full_like(visible, 128.0, requires_grad=True)
    torch.autograd.backward(METRICS[name](Triplet(fused, infrared, visible)).sum())
    assert fused.grad is not None
    assert torch.isfinite(fused.grad).all()


def test_vif_as_a_loss_leads_to_the_source() -> None:
    _, infrared, _ = formula_triplet("average", 48, 48)
    fused = (infrared + 40 * torch.sin(torch.arange(48.0))).requires_grad_()
    before = vif(fused, infrared, infrared)
    torch.autograd.backward(before.sum())
    assert fused.grad is not None
    with torch.no_grad():
        after = vif(fused + 200 * fused.grad / fused.grad.norm(), infrared, infrared)
    assert after.item() > before.item()


@pytest.mark.parametrize("level", [0.0, 127.5])
def test_vif_of_flat_images_is_one_without_a_gradient(level: float) -> None:
    flat = torch.full((1, 1, 48, 48), level)
    fused = flat.clone().requires_grad_()
    assert vif(fused, flat, flat, reduction="mean").item() == 1.0
    infrared = 255 * torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    for source in (flat, infrared):
        (gradient,) = torch.autograd.grad(vif(fused, source, flat, precision="single").sum(), fused)
        assert gradient.isfinite().all()


def test_inputs_are_checked() -> None:
    image = torch.zeros(1, 1, 16, 16)
    with pytest.raises(ValueError, match="pass the luma"):
        ssim(torch.zeros(1, 3, 16, 16), image, image)
    with pytest.raises(ValueError, match="sizes must match"):
        ssim(image, torch.zeros(1, 1, 16, 17), image)
    with pytest.raises(ValueError, match="uint8"):
        ssim(image.to(torch.uint8), image, image)


@pytest.mark.parametrize("name", ["MI", "PSNR", "SF", "AG", "EI", "NMI", "CE", "VIF", "Qabf", "SSIM", "Qcb", "Qy"])
def test_unknown_options_name_the_known_ones(name: str) -> None:
    options = {"MI": "base", "SF": "divide_by", "AG": "divide_by", "EI": "border", "VIF": "reduction", "SSIM": "window"}
    with pytest.raises(ValueError, match="known"):
        METRICS[name](_random(48, 48), **{options.get(name, "variant"): "other"})


@pytest.mark.parametrize("name", list(METRICS))
def test_direction_tells_a_good_fusion_from_noise(name: str) -> None:
    if name in {"EN", "SD", "SF", "AG", "EI", "CE"}:  # noise is entropy and contrast to them
        pytest.skip("a metric of the fused image alone, or of its histogram, cannot tell")
    good, infrared, visible = formula_triplet("maximum")
    noise = torch.randint(0, 256, good.shape, generator=torch.Generator().manual_seed(3)).float()
    better, worse = (METRICS[name](Triplet(fused, infrared, visible)).item() for fused in (good, noise))
    assert (better > worse) == METRICS[name].higher_is_better


@pytest.mark.parametrize("convention", list(CONVENTIONS))
def test_metrics_share_their_work_without_changing_values(convention: str) -> None:
    chosen = CONVENTIONS[convention]
    images = formula_triplet("maximum")
    shared = chosen.score(Triplet(*images))
    for name, value in shared.items():
        assert chosen.score(Triplet(*images), [name])[name].item() == value.item()
