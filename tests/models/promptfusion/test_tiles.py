"""A picture in tiles against the same picture as a whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.models.promptfusion import PromptFusionConfig, PromptFusionNetwork
from tests.models.tiled import difference, exact, sees_beyond

SIZE = 37, 300  # not of the contourlet's multiples, and wider than a tile with its halo
TILE = 160
SHAPES: list[dict[str, Any]] = [{}, {"pairing": "splice", "margin": 0}, {"detail": "convolution", "coupling_nodes": 2}]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tiles_give_what_the_whole_picture_gives(shape: dict[str, Any]) -> None:
    torch.manual_seed(0)
    small = {"channels": 4, "blocks": 1, "heads": 2, "detail_channels": (4, 6, 8, 8)}
    network = PromptFusionNetwork(PromptFusionConfig(**{**small, **shape}))
    exact(network)

    def fusion(infrared: Tensor, luma: Tensor) -> Tensor:
        fused: Tensor = network(infrared, luma).fused
        return fused

    tiling = network.tiling
    assert difference(fusion, tiling, SIZE, TILE) < 1e-12
    wider = tiling._replace(halo=tiling.halo + tiling.step)
    assert not sees_beyond(fusion, wider, tiling.halo, SIZE, TILE)
    assert sees_beyond(fusion, wider, tiling.halo - 1, SIZE, TILE)
