"""A generated pair and fusions of it, given by formulas: small references that anybody can reproduce without files."""

import torch
from torch import Tensor

FORMULA_FUSIONS = ("average", "maximum", "visible", "constant")
"""The fused images that `formula_triplet` knows."""


def formula_triplet(fusion: str = "average", height: int = 192, width: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """An infrared blob over a faint ripple, a visible interference pattern, and one fusion of the two.

    With x, y in pixels and R(t) = clip(floor(t + 0.5), 0, 255):
    visible = R(127.5 + 100 sin(x/5 + y/9) cos(y/7)),
    infrared = R(40 + 200 exp(-((x-160)^2 + (y-80)^2) / (2 24^2)) + 10 sin(x/3)),
    average = R((visible + infrared) / 2), constant = 128.

    Args:
        fusion: One of `FORMULA_FUSIONS`.
        height: Rows.
        width: Columns.

    Returns:
        Fused, infrared and visible, each (1, 1, H, W) float32, integers 0..255.

    Raises:
        ValueError: If `fusion` is unknown.
    """
    y = torch.arange(height, dtype=torch.float64).view(-1, 1)
    x = torch.arange(width, dtype=torch.float64).view(1, -1)
    visible = _round(127.5 + 100 * torch.sin(x / 5 + y / 9) * torch.cos(y / 7))
    blob = torch.exp(-((x - 160).square() + (y - 80).square()) / (2 * 24**2))
    infrared = _round(40 + 200 * blob + 10 * torch.sin(x / 3))
    if fusion not in FORMULA_FUSIONS:
        raise ValueError(f"Unknown fusion '{fusion}'; the formula images are fused by {', '.join(FORMULA_FUSIONS)}.")
    fused = {
        "average": _round((visible + infrared) / 2),
        "maximum": torch.maximum(visible, infrared),
        "visible": visible,
        "constant": torch.full_like(visible, 128.0),
    }[fusion]
    images = [image.float().view(1, 1, height, width) for image in (fused, infrared, visible)]
    return images[0], images[1], images[2]


def _round(x: Tensor) -> Tensor:
    return torch.floor(x + 0.5).clamp(0, 255)
