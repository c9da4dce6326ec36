"""Resizing by two matrix products is PyTorch's, in value and gradient, and is taken where a run must repeat."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops import resize as resizing
from ivif.image_ops.resize import ResizeMode, resize, resize_by_products

SIZES = [
    ((48, 64), (22, 22)),
    ((22, 22), (48, 64)),
    ((37, 5), (1, 9)),
    ((1, 1), (3, 4)),
    ((60, 33), (59, 34)),
    ((480, 640), (224, 224)),
]


def _of_torch(x: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    return F.interpolate(x, size=size, mode=mode, align_corners=False, antialias=True)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_two_products_are_pytorchs_resizing(mode: ResizeMode, before: tuple[int, int], after: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *before, dtype=torch.float64, requires_grad=True)
    ours, theirs = resize_by_products(x, after, mode), _of_torch(x, after, mode)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-12)
    weights = torch.rand_like(ours)
    gradients = [torch.autograd.grad((result * weights).sum(), x)[0] for result in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=0.0, atol=1e-12)
    single = x.detach().float()
    ours, theirs = resize_by_products(single, after, mode), _of_torch(single, after, mode)
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=2e-6)


def test_half_precision_stays_and_autocast_takes_no_digits() -> None:
    x = torch.rand(1, 3, 40, 50)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(resize_by_products(x, (16, 16), "bicubic"), _of_torch(x, (16, 16), "bicubic"))
    assert resize_by_products(x.bfloat16(), (16, 16), "bilinear").dtype == torch.bfloat16


@pytest.mark.parametrize(("deterministic", "antialias"), [(True, True), (True, False), (False, True)])
def test_products_are_taken_where_a_run_must_repeat_beyond_the_cpu(
    deterministic: bool, antialias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    products, plain = torch.empty(0), torch.empty(0)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    monkeypatch.setattr(resizing, "resize_by_products", lambda *_: products)
    monkeypatch.setattr(F, "interpolate", lambda *_, **__: plain)
    beyond = resize(torch.empty(1, 3, 40, 50, device="meta"), (16, 16), "bilinear", antialias)
    assert beyond is (products if deterministic and antialias else plain)
    assert resize(torch.zeros(1, 3, 40, 50), (16, 16), "bilinear", antialias) is plain
