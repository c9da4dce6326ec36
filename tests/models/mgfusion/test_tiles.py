"""A picture in tiles against the same picture as a whole."""

import pytest
import torch

from ivif.models.layers.tiling import Tile, in_tiles
from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork


@pytest.mark.parametrize("blocks", [1, 2])
def test_tiles_give_what_the_whole_picture_gives(blocks: int) -> None:
    torch.manual_seed(0)
    network = MGFusionNetwork(MGFusionConfig(channels=8, blocks=blocks, heads=2), clip_width=16).eval().double()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_mean is not None
            torch.nn.init.uniform_(norm.running_mean, -0.2, 0.2)
    # Brightness grows across the picture, so that sums over a tile are far from those over the picture.
    ramp = torch.linspace(0, 1, 140).expand(1, 1, 101, 140)
    infrared = (ramp + 0.3 * torch.rand(1, 1, 101, 140)).clamp(0, 1)
    visible = (ramp.flip(3) + 0.3 * torch.rand(1, 3, 101, 140)).clamp(0, 1)
    infrared, visible = infrared.double(), visible.double()
    vectors = torch.randn(1, 16).double(), torch.randn(1, 16).double()

    def of(tile: Tile) -> torch.Tensor:
        rows, columns = tile.read
        fused: torch.Tensor = network(infrared[..., rows, columns], visible[..., rows, columns], *vectors)
        return fused

    with torch.no_grad():
        whole = network(infrared, visible, *vectors)
        tiled = in_tiles(of, 101, 140, tile=40, halo=network.halo)
        short = in_tiles(of, 101, 140, tile=40, halo=network.halo // 2)
    assert (tiled - whole).abs().max() < 1e-12
    assert (short - whole).abs().max() > 1e-12
