"""Networks on a GPU give what they give on the CPU, whatever the memory format; normalisation over processes too."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from benchmarks.networks import METHODS, Fuse, build
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss

pytestmark = pytest.mark.gpu


def _images(height: int = 48, width: int = 64) -> Tensor:
    return torch.rand(2, 4, height, width, generator=torch.Generator().manual_seed(1))


def _network(method: str) -> tuple[nn.Module, Fuse]:
    torch.manual_seed(3)
    return build(method, "light")


def _gradients(network: nn.Module, fuse: Fuse, images: Tensor) -> tuple[float, dict[str, Tensor]]:
    fused = fuse(network.train(), images)
    infrared, visible = images[:, :1], images[:, 1:2]
    loss = gradient_max_loss(fused, infrared, visible) + intensity_max_loss(fused, infrared, visible)
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return float(loss), {n: g.cpu() for n, g in zip(names, found, strict=True) if g is not None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(48, 64), (45, 61)])
def test_a_fused_image_is_that_of_the_cpu(method: str, size: tuple[int, int], gpu: torch.device) -> None:
    network, fuse = _network(method)
    images = _images(*size)
    with torch.inference_mode():
        expected = fuse(network.eval(), images)
        found = fuse(deepcopy(network).to(gpu), images.to(gpu))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_are_those_of_the_cpu(method: str, gpu: torch.device) -> None:
    network, fuse = _network(method)
    moved = deepcopy(network).to(gpu)
    expected_loss, expected = _gradients(network, fuse, _images())
    loss, found = _gradients(moved, fuse, _images().to(gpu))
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * largest, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_the_memory_format_changes_nothing(method: str, gpu: torch.device) -> None:
    network, fuse = _network(method)
    moved, images = network.to(gpu).eval(), _images().to(gpu)
    with torch.inference_mode():
        expected = fuse(moved, images)
        found = fuse(
            moved.to(memory_format=torch.channels_last),
            images.to(memory_format=torch.channels_last),
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("method", ["text_to_pixels", "promptfusion"])
def test_normalisation_over_processes_is_that_of_one(method: str, gpu: torch.device) -> None:
    network, fuse = _network(method)
    over_all = nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(network))  # type: ignore[no-untyped-call]
    over_all.to(gpu).train()
    assert any(isinstance(module, nn.SyncBatchNorm) for module in over_all.modules())
    images = _images().to(gpu)
    torch.testing.assert_close(fuse(over_all, images), fuse(network.to(gpu).train(), images), rtol=0, atol=2e-5)
    statistics = dict(network.named_buffers())
    for name, value in over_all.named_buffers():
        torch.testing.assert_close(value, statistics[name], rtol=1e-4, atol=1e-5, msg=name)
