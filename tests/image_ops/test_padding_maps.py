"""The padding that a GPU takes: PyTorch's values and gradients, in the memory format of the planes."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops import padding as padding_module
from ivif.image_ops.padding import pad_planes
from ivif.image_ops.padding_maps import Padding, PadMode, padded
from ivif.models.layers import convolution
from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork

MODES: tuple[PadMode, ...] = ("replicate", "reflect")
PADDINGS: list[Padding] = [(1, 1, 1, 1), (0, 3, 0, 2), (2, 0, 5, 1), (6, 6, 4, 4)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradients_are_pytorchs(mode: PadMode, padding: Padding) -> None:
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    ours, theirs = padded(x, padding, mode), F.pad(x, padding, mode=mode)
    assert torch.equal(ours, theirs)
    weights = torch.rand_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad(result, x, weights)[0] for result in (ours, theirs)))
    assert torch.autograd.gradgradcheck(lambda x: padded(x, padding, mode) ** 3, x[:1, :1].detach().requires_grad_())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_memory_format_stays(layout: torch.memory_format, mode: PadMode) -> None:
    x = torch.rand(2, 4, 6, 8).contiguous(memory_format=layout).requires_grad_()
    result = padded(x, (1, 2, 1, 1), mode)
    assert result.is_contiguous(memory_format=layout)
    (gradient,) = torch.autograd.grad(result.square().sum(), x)
    assert gradient.clone().is_contiguous(memory_format=layout)  # itself a view of the padded one


def test_half_precision_stays_under_autocast_and_single_does_too() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.bfloat16, torch.float32):
            assert padded(torch.rand(1, 2, 4, 4, dtype=dtype), (1, 1, 1, 1), "replicate").dtype == dtype


def test_gradients_of_a_sum_are_counted() -> None:
    """A sum's gradient is one number expanded over the planes, which nothing may be added to in place."""
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(padded(x, (1, 0, 0, 2), "replicate").sum(), x)
    assert gradient.tolist() == [[[[2.0, 1.0], [6.0, 3.0]]]]


@pytest.mark.parametrize(("device", "own"), [("meta", True), ("cpu", False)])
def test_planes_beyond_the_cpu_take_it(device: str, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = torch.empty(0)
    monkeypatch.setattr(padding_module, "padded", lambda *_: mark)
    for mode in MODES:
        assert (pad_planes(torch.empty(1, 1, 4, 4, device=device), (1, 1, 1, 1), mode) is mark) == own


def test_every_convolution_of_many_channels_reads_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "pad_planes", lambda x, padding: padded(x, padding, "replicate"))
    network, seen = MGFusionNetwork(MGFusionConfig(8, 1, 2), 8), []

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[1] > 3:  # an image comes as its file is read
            seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for module in network.modules():
        if isinstance(module, convolution.ReplicateConv2d):
            module.register_forward_pre_hook(look)
    pair = torch.rand(2, 1, 24, 32), torch.rand(2, 3, 24, 32)
    network(*pair, *(torch.rand(2, 8) for _ in range(2)))
    assert seen == 10 * [True]
