"""Every loss on the pretend device: its value and its gradient are the CPU's."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from ivif.losses import (
    content,
    decomposition,
    gradient,
    intensity,
    preservation,
    prompt,
    reconstruction,
    ssim,
    structure,
)

Loss = Callable[[Sequence[Tensor]], Any]


def _weights(images: Sequence[Tensor], form: Any = "ratio") -> Tensor:
    return content.saliency_weights(torch.cat([images[1], images[2]], dim=1).detach(), form)


def _rgb(images: Sequence[Tensor]) -> Sequence[Tensor]:
    return [image.repeat(1, 3, 1, 1) for image in images]


def _scores(images: Sequence[Tensor]) -> Tensor:
    """Scores (B, 2) of the first image."""
    return images[0].flatten(1)[:, :2]


LOSSES: dict[str, Loss] = {
    "feature_correlation": lambda x: decomposition.feature_correlation(x[0], x[1]),
    "decomposition_loss": lambda x: decomposition.decomposition_loss(x[0], x[1], x[2], x[0] * x[1]),
    "gradient_max_loss": lambda x: gradient.gradient_max_loss(x[0], x[1], x[2]),
    "intensity_max_loss": lambda x: intensity.intensity_max_loss(x[0], x[1], x[2]),
    "gradient_max_loss, RGB": lambda x: gradient.gradient_max_loss(*_rgb(x)),
    "intensity_max_loss, RGB": lambda x: intensity.intensity_max_loss(*_rgb(x)),
    "signed_gradient_max_loss": lambda x: gradient.signed_gradient_max_loss(x[0], x[1], x[2]),
    "edge_preservation_loss": lambda x: preservation.edge_preservation_loss(x[0], x[1], x[2]),
    "information_loss": lambda x: preservation.information_loss(*(image.repeat(1, 1, 2, 2) for image in x)),
    "similarity_loss": lambda x: preservation.similarity_loss(x[0], x[1], x[2]),
    "difference_correlation_loss": lambda x: preservation.difference_correlation_loss(x[0], x[1], x[2]),
    "preservation_terms": lambda x: list(preservation.preservation_terms(x[0], x[1], x[2], {"edges": 1.0}).values()),
    "ssim_loss": lambda x: ssim.ssim_loss(x[0], x[1]),
    "reconstruction_terms": lambda x: reconstruction.reconstruction_terms(x[0], x[1]),
    "comparison_maps": lambda x: structure.comparison_maps(x[0], x[1]),
    "structure_loss": lambda x: structure.structure_loss(x[0], x[1]),
    "fidelity": lambda x: structure.fidelity(x[0], x[1], x[2]),
    "prompt_cross_entropy": lambda x: prompt.prompt_cross_entropy(_scores(x), _scores(x).detach()[:, 0] > 0.5),
    "margin_ranking_loss": lambda x: prompt.margin_ranking_loss([_scores(x)[:, 0], _scores(x)[:, 1]]),
    **{
        f"prompt_loss, {form}": lambda x, form=form: prompt.prompt_loss(_scores(x), form, scale=x[1].mean() * 100)  # type: ignore[misc]
        for form in prompt.PROMPT_FORMS
    },
    **{
        f"saliency_weights, {form}": lambda x, form=form: _weights(x, form) * x[0]  # type: ignore[misc]
        for form in get_args(content.SaliencyWeighting)
    },
    **{
        f"content_loss, {form}": lambda x, form=form: content.content_loss(x[0], x[1], x[2], _weights(x), form)  # type: ignore[misc]
        for form in get_args(content.ContentForm)
    },
}
MODULES = (content, decomposition, gradient, intensity, preservation, prompt, reconstruction, ssim, structure)
HELPERS = {"check_triplet", "at_least_float32"}


def _images(device: str | torch.device) -> list[Tensor]:
    """Fused, infrared and visible (2, 1, 24, 32); the first with gradient."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(2, 1, 24, 32, generator=generator).to(device) for _ in range(3)]
    images[0].requires_grad_()
    return images


def _flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for entry in value for tensor in _flat(entry)]


def _computed(loss: Loss, device: str | torch.device) -> list[Tensor]:
    images = _images(device)
    values = _flat(loss(images))
    assert {value.device.type for value in values} == {torch.device(device).type}
    with_gradient = [value.sum() for value in values if value.requires_grad]
    if with_gradient:
        torch.autograd.backward(torch.stack(with_gradient).sum())
        assert images[0].grad is not None
        values.append(images[0].grad)
    return [value.detach().cpu() for value in values]


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_cpus(name: str, gpu: torch.device) -> None:
    for ours, reference in zip(_computed(LOSSES[name], gpu), _computed(LOSSES[name], "cpu"), strict=True):
        assert torch.equal(ours, reference)


def test_no_loss_is_left_out() -> None:
    functions = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not isinstance(value, type)
    }
    public = {name for name in functions if not name.startswith("_")} - HELPERS
    assert public == {name.partition(",")[0] for name in LOSSES}
