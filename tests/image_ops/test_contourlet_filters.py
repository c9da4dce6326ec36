"""The filters: kernels, the fan map, wedges, and the memory they take."""

import inspect
from typing import Any

import pytest
import torch

from benchmarks.contourlet_anchor import fan_map
from ivif.image_ops.contourlet import contourlet
from ivif.image_ops.contourlet_filters import (
    ANALYSIS_KERNEL,
    SYNTHESIS_KERNEL,
    directional_filters,
    pyramid_response,
    scale_filters,
)

_uncached: Any = inspect.unwrap(scale_filters)


def _on_ring(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles in degrees [0, 180) of the wave vectors (rows, columns), and where .10 < |f| < .45 cycles per pixel."""
    rows, columns = torch.fft.fftfreq(height)[:, None].double(), torch.fft.fftfreq(width).double()
    radius = (rows**2 + columns**2).sqrt()
    return torch.rad2deg(torch.atan2(rows, columns.expand(height, width))) % 180, (radius > 0.1) & (radius < 0.45)


def test_the_kernels_are_biorthogonal() -> None:
    full = [
        torch.tensor([*kernel[:0:-1], *kernel], dtype=torch.float64) for kernel in (ANALYSIS_KERNEL, SYNTHESIS_KERNEL)
    ]
    assert [kernel.sum().item() for kernel in full] == pytest.approx([2**0.5, 2**0.5])
    product = torch.nn.functional.conv1d(full[0].view(1, 1, -1), full[1].view(1, 1, -1), padding=6).flatten()
    centre = len(product) // 2
    even = product[centre % 2 :: 2]
    assert even[len(even) // 2].item() == pytest.approx(1.0)
    assert even.abs().sum().item() == pytest.approx(1.0)
    gain = pyramid_response(ANALYSIS_KERNEL, (8, 8))[0, 0] * pyramid_response(SYNTHESIS_KERNEL, (8, 8))[0, 0]
    assert gain.item() == pytest.approx(4.0)


def test_the_fan_map_is_flat_and_odd() -> None:
    zero, pi = torch.zeros(1, dtype=torch.float64), torch.full((1,), torch.pi, dtype=torch.float64)
    values = [fan_map(a, b).item() for a, b in ((zero, zero), (pi, pi), (pi / 2, pi / 2), (pi, zero))]
    assert values == pytest.approx([1.0, -1.0, 0.0, 0.0], abs=1e-12)
    u, v = torch.rand(2, 50, dtype=torch.float64) * 6
    torch.testing.assert_close(fan_map(u + torch.pi, v + torch.pi), -fan_map(u, v))
    step = torch.full((1,), 0.4, dtype=torch.float64)
    assert (1 - fan_map(step, 0.3 * step)).abs() < 5e-5


def test_wedges_are_where_they_should_be() -> None:
    filters = directional_filters("analysis", 3, 64, 64)
    angles, ring = _on_ring(64, 64)
    energy = filters.abs().square() * ring
    doubled = torch.deg2rad(2 * angles)  # of axes, not of arrows
    centres = torch.rad2deg(torch.atan2((energy * doubled.sin()).sum((1, 2)), (energy * doubled.cos()).sum((1, 2)))) / 2
    expected = torch.tensor([142.0, 167.0, 13.0, 38.0, 127.0, 103.0, 77.0, 53.0], dtype=torch.float64)
    assert ((centres % 180) - expected).abs().max() < 3
    for wedge, centre in zip(energy, expected, strict=True):
        sector = (angles // 22.5) == centre // 22.5
        assert wedge[sector].sum() > 0.7 * wedge.sum()


@pytest.mark.parametrize(("waves", "strongest"), [((30, 12), 6), ((12, 30), 2), ((-30, 12), 5), ((12, -30), 1)])
def test_a_wave_passes_one_wedge(waves: tuple[int, int], strongest: int) -> None:
    energy = directional_filters("analysis", 3, 128, 128)[:, waves[0] % 128, waves[1] % 128].abs().square()
    assert energy.argmax().item() == strongest
    assert energy[strongest] > 0.9 * energy.sum()


def test_the_bank_is_nearly_tight() -> None:
    filters = directional_filters("analysis", 3, 64, 96)
    total = filters.abs().square().sum(0) / 8
    assert total.min() > 0.88
    assert total.max() < 1.13
    assert total.max() - total.min() > 0.01


@pytest.mark.parametrize("level", [2, 3, 4])
def test_the_dual_bank_undoes_the_bank(level: int) -> None:
    analysis = directional_filters("analysis", level, 32, 48)
    synthesis = directional_filters("synthesis", level, 32, 48)
    torch.testing.assert_close((analysis * synthesis).sum(0) / 2**level, torch.ones(32, 48, dtype=torch.complex128))


_PLAIN: dict[str, Any] = {
    "kind": "analysis",
    "form": "split",
    "level": 3,
    "size": (32, 64),
    "tiles": 0,
    "dtype": torch.float32,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "synthesis"), ("form", "join"), ("level", 2), ("size", (64, 32)), ("tiles", 1), ("dtype", torch.float64)],
)
def test_filters_of_one_call_do_not_serve_another(name: str, value: object) -> None:
    for options in (_PLAIN, _PLAIN | {name: value}, _PLAIN):
        made, fresh = (make(**options, device=torch.device("cpu")) for make in (scale_filters, _uncached))
        assert all(torch.equal(one, other) for one, other in zip(made, fresh, strict=True))
    other = scale_filters(**_PLAIN | {name: value}, device=torch.device("cpu"))
    assert any(one.shape != two.shape or not torch.equal(one, two) for one, two in zip(made, other, strict=True))


def test_filters_are_cached_and_the_cache_is_bounded() -> None:
    scale_filters.cached.cache_clear()
    for side in range(16, 16 * 40, 16):
        contourlet(torch.zeros(1, 1, 16, side), (0, 3))
    information = scale_filters.cached.cache_info()
    assert information.currsize == information.maxsize
    contourlet(torch.zeros(1, 1, 16, 16 * 39), (0, 3))
    assert scale_filters.cached.cache_info().misses == information.misses


def test_filters_made_in_inference_mode_serve_training() -> None:
    scale_filters.cached.cache_clear()
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        contourlet(image)
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(contourlet(image).lowpass.square().sum(), image)
    assert gradient.abs().min() > 0
