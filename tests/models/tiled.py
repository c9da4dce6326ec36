"""Networks on tiles, against the same networks on the whole picture."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ivif.models.layers.tiling import Tile, Tiling, in_tiles

Fusion = Callable[[Tensor, Tensor], Tensor]
"""Infrared (1, 1, H, W) and visible (1, C, H, W) to what is fused."""


def exact(network: nn.Module) -> nn.Module:
    """The network in double precision and evaluation, with statistics of a trained one."""
    network = network.eval().double()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
    return network


def pair(height: int, width: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Brightness grows across the picture, so that sums over a tile are far from those over the picture."""
    ramp = torch.linspace(0, 1, width).expand(1, 1, height, width)
    infrared = ramp + 0.3 * torch.rand(1, 1, height, width)
    visible = ramp.flip(3) + 0.3 * torch.rand(1, channels, height, width)
    return infrared.clamp(0, 1).double(), visible.clamp(0, 1).double()


def difference(fusion: Fusion, tiling: Tiling, size: tuple[int, int], tile: int, channels: int = 1) -> float:
    """The largest difference between a picture in tiles and the whole picture."""
    torch.manual_seed(0)
    infrared, visible = pair(*size, channels)

    def of(part: Tile) -> Tensor:
        return fusion(infrared[..., *part.read], visible[..., *part.read])

    with torch.no_grad():
        tiled, whole = in_tiles(of, *size, tile, tiling), fusion(infrared, visible)
    return float((tiled - whole).abs().max())


def sees_beyond(fusion: Fusion, tiling: Tiling, halo: int, size: tuple[int, int], tile: int, channels: int = 1) -> bool:
    """Whether a tile's own part depends on pixels farther from it than a halo: those are no numbers here."""
    torch.manual_seed(0)
    infrared, visible = pair(*size, channels)

    def of(part: Tile) -> Tensor:
        return fusion(*(_without(picture, part, halo) for picture in (infrared, visible)))

    with torch.no_grad():
        return bool(in_tiles(of, *size, tile, tiling).isnan().any())


def _without(picture: Tensor, part: Tile, halo: int) -> Tensor:
    read = picture[..., *part.read]
    near: Any = [slice(max(0, own.start - halo), own.stop + halo) for own in part.inside]
    kept = torch.full_like(read, torch.nan)
    kept[..., *near] = read[..., *near]
    return kept
