"""The content term: closeness to both sources, weighted by saliency."""

from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ivif.losses.intensity import check_triplet
from ivif.losses.structure import ComparisonTerms, comparison_maps, fidelity

SaliencyWeighting = Literal["ratio", "softmax5", "printed"]
ContentForm = Literal["weighted_loss", "composite", "literal"]

_SHARPNESS: Final = 5.0
_SMALLEST: Final = 1e-12


class ContentLoss(NamedTuple):
    """The content term of a batch.

    Attributes:
        terms: SSIM, pixel and gradient parts per sample, (B,) each.
        fidelity: a2 of eq. 10 per sample, (B,), in [0, 1], without gradient.
    """

    terms: ComparisonTerms
    fidelity: Tensor


@torch.no_grad()
def saliency_weights(saliency: Tensor, weighting: SaliencyWeighting = "ratio") -> Tensor:
    """The weight w1 of the infrared image at each pixel; the visible image has w2 = 1 - w1 (eq. 9).

    - `ratio`: (S_x + e) / (S_x + S_y + 2e) with e = 1e-6 of the sample's largest saliency; 1/2 where both are equal.
    - `softmax5`: exp(5 S_x / max S_x) / (exp(5 S_x / max S_x) + exp(5 S_y / max S_y)), as in IRFS's code; the maxima
      are those of the planes as given.
    - `printed`: S_x / |S_x - S_y| as the paper prints it, clamped to [0, 1] because it is unbounded near S_x = S_y; 1
      at equality, 1/2 where both are 0.

    Args:
        saliency: (B, 2, H, W) in [0, 1]: infrared, visible, from `ivif.image_ops.saliency.saliency_pair`.
        weighting: Which formula.

    Returns:
        (B, 1, H, W), float32 or wider, in [0, 1], without gradient.

    Raises:
        ValueError: If `saliency` is not (B, 2, H, W), or there is no such weighting.
    """
    if saliency.ndim != 4 or saliency.shape[1] != 2:
        raise ValueError(f"Saliency planes are (B, 2, H, W): infrared, visible; got {tuple(saliency.shape)}.")
    _check_choice("weighting", weighting, get_args(SaliencyWeighting))
    planes = saliency.detach().to(torch.promote_types(saliency.dtype, torch.float32))
    infrared, visible = planes.chunk(2, dim=1)
    if weighting == "ratio":
        small = (1e-6 * planes.amax(dim=(1, 2, 3), keepdim=True)).clamp(min=_SMALLEST)
        return (infrared + small) / (infrared + visible + 2.0 * small)
    if weighting == "softmax5":
        scaled = planes / planes.amax(dim=(2, 3), keepdim=True).clamp(min=_SMALLEST)
        return torch.softmax(_SHARPNESS * scaled, dim=1)[:, :1]
    quotient = infrared / (infrared - visible).abs()
    return torch.nan_to_num(quotient, nan=0.5, posinf=1.0).clamp(0.0, 1.0)


def content_loss(
    fused: Tensor, infrared: Tensor, visible: Tensor, weights: Tensor, form: ContentForm = "weighted_loss"
) -> ContentLoss:
    """L_cc = sum over both sources and t in {SSIM, pixel, gradient} of L^t, weighted by saliency (eq. 9).

    - `weighted_loss`: mean(w1 l^t(z, x)) + mean(w2 l^t(z, y)) with the differences l^t at each pixel, what TarDAL's
      code does.
    - `composite`: l^t(z, w1 x + w2 y), one composed reference.
    - `literal`: l^t(z, w1 x) + l^t(z, w2 y) as the paper prints it. Compares z with darkened images: for x = y = c and
      w1 = 1/2 its pixel part has its minimum at z = c/2.

    Args:
        fused: z (B, C, H, W) in [0, 1].
        infrared: x (B, 1 or C, H, W) in [0, 1].
        visible: y (B, C, H, W) in [0, 1].
        weights: w1 (B, 1, H, W) in [0, 1], from `saliency_weights`; no gradient passes through.
        form: What is weighted.

    Returns:
        The three terms per sample and a2; in the form `weighted_loss` a2 comes at no extra cost.

    Raises:
        ValueError: If the shapes do not fit, or there is no such form.
    """
    check_triplet(fused, infrared, visible)
    if weights.shape != (fused.shape[0], 1, *fused.shape[2:]):
        raise ValueError(f"Weights of images {tuple(fused.shape)} are one plane each; got {tuple(weights.shape)}.")
    _check_choice("form", form, get_args(ContentForm))
    infrared, first = infrared.expand_as(visible), weights.detach()
    if form == "weighted_loss":
        return _weighted(fused, infrared, visible, first)
    if form == "composite":
        terms = comparison_maps(fused, first * infrared + (1.0 - first) * visible).per_sample()
    else:
        terms = _sum(comparison_maps(fused, first * infrared), comparison_maps(fused, (1.0 - first) * visible))
    return ContentLoss(terms, fidelity(fused, infrared, visible))


def _weighted(fused: Tensor, infrared: Tensor, visible: Tensor, first: Tensor) -> ContentLoss:
    to_infrared, to_visible = comparison_maps(fused, infrared), comparison_maps(fused, visible)
    kept = 1.0 - (to_infrared.ssim + to_visible.ssim).detach().flatten(1).mean(dim=1) / 2.0
    weighted = (
        ComparisonTerms(*(first * term for term in to_infrared)),
        ComparisonTerms(*((1.0 - first) * term for term in to_visible)),
    )
    return ContentLoss(_sum(*weighted), kept.clamp(0.0, 1.0))


def _sum(first: ComparisonTerms, second: ComparisonTerms) -> ComparisonTerms:
    pairs = zip(first.per_sample(), second.per_sample(), strict=True)
    return ComparisonTerms(*(one + other for one, other in pairs))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(repr, choices))}.")
