"""A picture in tiles against the same picture as a whole."""

import pytest
import torch
from torch import Tensor

from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork
from tests.models.tiled import difference, exact, sees_beyond

SIZE = 45, 100


@pytest.mark.parametrize(("blocks", "clip"), [(1, True), (2, True), (1, False)])
def test_tiles_give_what_the_whole_picture_gives(blocks: int, clip: bool) -> None:
    torch.manual_seed(0)
    config = MGFusionConfig(channels=8, blocks=blocks, heads=2, use_cii=clip, use_cff=clip)
    network = MGFusionNetwork(config, clip_width=16)
    exact(network)
    vectors = torch.randn(1, 16).double(), torch.randn(1, 16).double()

    def fusion(infrared: Tensor, visible: Tensor) -> Tensor:
        fused: Tensor = network(infrared, visible, *vectors)
        return fused

    tiling = network.tiling
    assert difference(fusion, tiling, SIZE, 40, channels=3) < 1e-12
    wider = tiling._replace(halo=tiling.halo + 1)
    assert not sees_beyond(fusion, wider, tiling.halo, SIZE, 40, channels=3)
    assert sees_beyond(fusion, wider, tiling.halo - 1, SIZE, 40, channels=3)
