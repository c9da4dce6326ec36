"""Losses with their gradients, and every metric, on a GPU as on the CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ivif.image_ops.saliency import saliency_pair
from ivif.losses.content import content_loss, saliency_weights
from ivif.losses.decomposition import decomposition_loss
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.losses.prompt import prompt_loss
from ivif.losses.reconstruction import reconstruction_terms
from ivif.losses.ssim import ssim_loss
from ivif.losses.structure import structure_loss
from ivif.metrics import METRICS, FusionMetrics, suite
from ivif.metrics.functional import Triplet, formula_triplet

pytestmark = pytest.mark.gpu

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _content(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    weights = saliency_weights(saliency_pair(infrared, visible))
    return torch.stack(list(content_loss(fused, infrared, visible, weights).terms)).sum()


LOSSES: dict[str, Loss] = {
    "gradient": gradient_max_loss,
    "intensity": intensity_max_loss,
    "ssim": lambda fused, infrared, _: ssim_loss(fused, infrared).sum(),
    "structure": lambda fused, infrared, _: torch.stack(list(structure_loss(fused, infrared))).sum(),
    "content": _content,
    "reconstruction": lambda fused, infrared, _: torch.stack(list(reconstruction_terms(fused, infrared))).sum(),
    "decomposition": lambda fused, infrared, visible: decomposition_loss(fused, infrared, visible, fused * infrared),
    "prompt": lambda fused, _, __: prompt_loss(fused.mean(dim=(2, 3)).expand(-1, 2) * torch.arange(2).to(fused)).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_are_those_of_the_cpu(name: str, gpu: torch.device) -> None:
    images = torch.rand(3, 2, 1, 40, 56, generator=torch.Generator().manual_seed(2))
    found = []
    for device in (torch.device("cpu"), gpu):
        fused, infrared, visible = (image.to(device) for image in images)
        fused.requires_grad_()
        loss = LOSSES[name](fused, infrared, visible)
        (gradient,) = torch.autograd.grad(loss, fused)
        assert gradient.abs().max() > 0
        found.append((loss.detach().cpu(), gradient.cpu()))
    (expected, expected_gradient), (loss, gradient) = found
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5 * float(expected_gradient.abs().max()))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_the_value_of_the_cpu(name: str, gpu: torch.device) -> None:
    images = Triplet(*formula_triplet("average", 180, 200))
    expected = METRICS[name](images)
    found = METRICS[name](Triplet(*(x.to(gpu) for x in (images.fused, images.infrared, images.visible))))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-7)


def test_a_table_of_several_images_has_the_values_of_the_cpu(gpu: torch.device) -> None:
    batch = [torch.rand(3, 1, 64, 80, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    tables = []
    for device in (torch.device("cpu"), gpu):
        metrics = FusionMetrics(suite("cddfuse").names, "cddfuse").to(device)
        fused, infrared, visible = (images.to(device) for images in batch)
        metrics.update(fused, infrared, visible, ["a"] * 3, ["x", "y", "z"])
        tables.append({name: float(value) for name, value in metrics.compute().items()})
    assert tables[1] == pytest.approx(tables[0], rel=1e-5)
