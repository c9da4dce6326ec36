"""Gradient (texture) terms."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.sobel import sobel_components, sobel_magnitude
from ivif.losses.intensity import at_least_float32, check_triplet


def gradient_max_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Mean absolute difference between the fused image's gradient and the stronger of both sources' (MGFusion, eq. 7).

    l_g = |S(I_f) - max(S(I_i), S(I_v))|_1, a mean over batch, channels and pixels, with S = |Gx| + |Gy| of the
    un-normalised Sobel operator. The paper does not say whether the maximum is of signed derivatives or of magnitudes;
    here it is of magnitudes, as in PIAFusion's and CDDFuse's code.

    The weight lambda of the intensity term belongs to this scale: with a Sobel operator divided by 8, lambda 0.2 would
    mean what 1.6 means here, l_g / 8 + 0.2 l_i = (l_g + 1.6 l_i) / 8.

    Args:
        fused: (B, C, H, W) in [0, 1], C = 1 (luma) or 3 (RGB).
        infrared: (B, 1 or C, H, W) in [0, 1]; one channel is compared with each of C.
        visible: (B, C, H, W) in [0, 1]; the luma where `fused` is a luma.

    Returns:
        A scalar, float32 or wider, in [0, 8]; 0 where the gradients agree.

    Raises:
        ValueError: If the shapes do not fit.
    """
    check_triplet(fused, infrared, visible)
    fused, infrared, visible = at_least_float32(fused, infrared, visible)
    target = torch.maximum(sobel_magnitude(infrared), sobel_magnitude(visible))
    return F.l1_loss(sobel_magnitude(fused), target)


def signed_gradient_max_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Eq. 7 of MGFusion with signs: each Sobel derivative should be that of the source in which it is stronger.

    Magnitudes cannot tell a picture from its negative; derivatives can. Where both are equally strong the visible
    image's counts.

    Args:
        fused: (B, C, H, W) in [0, 1].
        infrared: (B, 1 or C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, float32 or wider, in [0, 16]; 0 where the derivatives agree.

    Raises:
        ValueError: If the shapes do not fit.
    """
    check_triplet(fused, infrared, visible)
    fused, infrared, visible = at_least_float32(fused, infrared.expand_as(visible), visible)
    triples = zip(*(sobel_components(image) for image in (fused, infrared, visible)), strict=True)
    differences = [
        F.l1_loss(own, torch.where(first.abs() > second.abs(), first, second)) for own, first, second in triples
    ]
    return torch.stack(differences).sum()
