"""The decomposition term: base features alike, detail features unlike."""

from typing import Final

from torch import Tensor

from ivif.losses.intensity import at_least_float32

_OFFSET: Final = 1.01
_SMALLEST_VARIANCE: Final = 1e-8


def feature_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation over space, for each channel.

    cov / sqrt((var_1 + e)(var_2 + e)), e = 1e-8: 0 with a finite gradient where a channel is constant, as behind a ReLU
    that is never active.

    Args:
        first: (B, C, H, W), any range.
        second: (B, C, H, W).

    Returns:
        (B, C), float32 or wider, in [-1, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f"Correlations are between features (B, C, H, W) of one shape; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    first, second = (_centred(features) for features in at_least_float32(first, second))
    covariance = (first * second).mean(dim=2)
    variances = (features.square().mean(dim=2) + _SMALLEST_VARIANCE for features in (first, second))
    one, other = (variance.rsqrt() for variance in variances)
    return covariance * one * other


def decomposition_loss(
    infrared_base: Tensor, visible_base: Tensor, infrared_detail: Tensor, visible_detail: Tensor
) -> Tensor:
    """L_dec = cc(D_v, D_i)^2 / (1.01 + cc(B_v, B_i)), cc the mean correlation of the channels (CDDFuse, eq. 9).

    Per pair, then the mean: in released code the correlations of a batch are averaged first, so that those of different
    pairs cancel, and the loss depends on how a batch is split.

    Args:
        infrared_base: B_i (B, C, H, W).
        visible_base: B_v (B, C, H, W).
        infrared_detail: D_i (B, C, H, W).
        visible_detail: D_v (B, C, H, W).

    Returns:
        A scalar, float32 or wider, in [0, 100]; 0 where the detail is uncorrelated.

    Raises:
        ValueError: If the shapes of base or of detail features differ.
    """
    detail = feature_correlation(infrared_detail, visible_detail).mean(dim=1)
    base = feature_correlation(infrared_base, visible_base).mean(dim=1)
    return (detail.square() / (_OFFSET + base)).mean()


def _centred(features: Tensor) -> Tensor:
    pixels = features.flatten(2)
    return pixels - pixels.mean(dim=2, keepdim=True)
