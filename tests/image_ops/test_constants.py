"""Constant tensors are made once, wherever the first call comes from, and serve training afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ivif.image_ops.constants import constant, made_once
from ivif.image_ops.sobel import sobel_components
from ivif.image_ops.ssim import gaussian_window, ssim_map
from ivif.metrics.functional.similarity import ms_ssim

CPU = torch.device("cpu")


def test_one_tensor_for_each_precision() -> None:
    first = constant((1.0, 2.0), torch.float32, CPU)
    assert first is constant((1.0, 2.0), torch.float32, CPU)
    assert first.tolist() == [1.0, 2.0]
    assert constant((1.0, 2.0), torch.float64, CPU).dtype == torch.float64
    assert constant(((1.0,), (2.0,)), torch.float32, CPU).shape == (2, 1)


def test_results_are_kept_for_as_many_arguments_as_asked_for() -> None:
    calls: list[int] = []

    @made_once(kept=2)
    def row(length: int) -> Tensor:
        """A row."""
        calls.append(length)
        return torch.ones(length)

    for length in (1, 2, 1, 3, 1, 2):
        assert row(length).shape == (length,)
    assert calls == [1, 2, 3, 2]
    assert row.__doc__ == "A row."


def _uses() -> dict[str, Callable[[Tensor], Tensor]]:
    return {
        "sobel": lambda x: sobel_components(x)[0],
        "ssim": lambda x: ssim_map(x, 1.0 - x),
        "ms_ssim": lambda x: ms_ssim(255.0 * x[:, :1], 200.0 * x[:, :1].detach(), 100.0 * x[:, :1].detach()),
    }


@pytest.mark.parametrize("name", _uses())
def test_what_was_first_used_in_inference_mode_serves_training(name: str) -> None:
    constant.cached.cache_clear()
    gaussian_window.cached.cache_clear()
    use, x = _uses()[name], torch.rand(1, 3, 176, 176)
    with torch.inference_mode():
        use(x)
    (gradient,) = torch.autograd.grad(use(x.requires_grad_()).sum(), x)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", _uses())
def test_a_second_call_copies_no_numbers_from_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use, x = _uses()[name], torch.rand(1, 3, 176, 176)
    expected = use(x)
    for maker in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, maker, lambda *_, **__: pytest.fail("numbers from Python at each call"))
    assert torch.equal(use(x), expected)


def test_a_compiler_traces_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = constant((3.0,), torch.float32, CPU)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    traced = constant((3.0,), torch.float32, CPU)
    assert traced is not kept
    assert torch.equal(traced, kept)
