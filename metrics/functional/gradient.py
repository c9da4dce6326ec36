"""Sharpness of the fused image: SF, AG and EI."""

from torch import Tensor

from ivif.metrics.functional.filters import safe_sqrt, sobel
from ivif.metrics.functional.triplet import Triplet, fused_metric


@fused_metric(smallest=2)
def spatial_frequency(triplet: Triplet, divide_by: str = "own_size") -> Tensor:
    """SF: sqrt(mean of squared row differences + mean of squared column differences); higher is better.

    Source: Eskicioglu and Fisher, "Image quality measures and their performance", 1995.

    Args:
        triplet: The images.
        divide_by: "own_size" (each difference image averaged over its own pixels) or "image_size" (both over H W,
            `vifb`).

    Returns:
        (B,), the precision of the image.

    Raises:
        ValueError: If `divide_by` is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(spatial_frequency(formula_triplet("average")[0]).item(), 4)
        6.8844
    """
    fused = triplet.fused
    across = fused[..., 1:] - fused[..., :-1]
    down = fused[..., 1:, :] - fused[..., :-1, :]
    rows, columns = triplet.size
    if divide_by == "own_size":
        sizes = (rows * (columns - 1), (rows - 1) * columns)
    elif divide_by == "image_size":
        sizes = (rows * columns, rows * columns)
    else:
        raise ValueError(f"Unknown divisor '{divide_by}' for SF; known: own_size, image_size.")
    return safe_sqrt(across.square().sum((1, 2, 3)) / sizes[0] + down.square().sum((1, 2, 3)) / sizes[1])


@fused_metric(smallest=2)
def average_gradient(triplet: Triplet, divide_by: str = "image_size") -> Tensor:
    """AG: mean of sqrt((gx^2 + gy^2) / 2), central differences inside, one-sided at the edges; higher is better.

    Source: Cui et al., "Detail preserved fusion of visible and infrared images using regional saliency extraction and
    multi-scale image decomposition", 2015.

    Args:
        triplet: The images.
        divide_by: "image_size" (H W) or "inner_size" ((H-1)(W-1), `vifb`).

    Returns:
        (B,), the precision of the image.

    Raises:
        ValueError: If `divide_by` is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(average_gradient(formula_triplet("average")[0]).item(), 4)
        4.476
    """
    fused = triplet.fused
    rows, columns = triplet.size
    squares = _central_difference(fused, -1).square() + _central_difference(fused, -2).square()
    total = safe_sqrt(squares / 2).sum((1, 2, 3))
    if divide_by == "image_size":
        return total / (rows * columns)
    if divide_by == "inner_size":
        return total / ((rows - 1) * (columns - 1))
    raise ValueError(f"Unknown divisor '{divide_by}' for AG; known: image_size, inner_size.")


def _central_difference(x: Tensor, dim: int) -> Tensor:
    length = x.shape[dim]
    result = x.new_empty(x.shape)
    result.narrow(dim, 1, length - 2).copy_((x.narrow(dim, 2, length - 2) - x.narrow(dim, 0, length - 2)) / 2)
    result.narrow(dim, 0, 1).copy_(x.narrow(dim, 1, 1) - x.narrow(dim, 0, 1))
    result.narrow(dim, length - 1, 1).copy_(x.narrow(dim, length - 1, 1) - x.narrow(dim, length - 2, 1))
    return result


@fused_metric()
def edge_intensity(triplet: Triplet, border: str = "replicate") -> Tensor:
    """EI: mean magnitude sqrt(sx^2 + sy^2) of the un-normalised Sobel gradient; higher is better.

    Args:
        triplet: The images.
        border: "replicate" (VIFB) or "zero" (`ivif_zoo`: the image's frame counts as an edge).

    Returns:
        (B,), the precision of the image.

    Raises:
        ValueError: If `border` is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(edge_intensity(formula_triplet("average")[0], border="zero").item(), 3)
        55.422
    """
    modes = {"replicate": "replicate", "zero": "constant"}
    if border not in modes:
        raise ValueError(f"Unknown border '{border}' for EI; known: {', '.join(modes)}.")
    horizontal, vertical = sobel(triplet.fused, modes[border])
    return safe_sqrt(horizontal.square() + vertical.square()).mean((1, 2, 3))
