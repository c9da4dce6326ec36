"""A picture in tiles against the same picture as a whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.models.text_to_pixels import TextToPixelsConfig, TextToPixelsNetwork
from tests.models.tiled import Fusion, difference, exact, sees_beyond

SIZE = 45, 100
SHAPES: list[dict[str, Any]] = [
    {"attention": "patch", "blocks": 2},
    {"attention": "patch", "stride": 4, "blocks": 1, "dilations": (1, 2, 3)},
    {"attention": "patch", "self_attention": False},
    {"attention": "channel", "blocks": 2},
    {"attention": "window", "blocks": 1, "window": 4},
    {"attention": "window", "blocks": 3, "window": 3},
]


def _network(**shape: Any) -> TextToPixelsNetwork:
    torch.manual_seed(0)
    small = {"channels": 4, "features": 8, "width": 16, "heads": 2, "decoder_channels": (4, 4), "codebook_entries": 8}
    network = TextToPixelsNetwork(TextToPixelsConfig(**{**small, **shape}), text_width=8)
    exact(network)
    return network


def _fusion(network: TextToPixelsNetwork) -> Fusion:
    words = torch.randn(1, 5, 8).double()

    def fusion(infrared: Tensor, luma: Tensor) -> Tensor:
        fused: Tensor = network(infrared, luma, words).fused
        return fused

    return fusion


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_tiles_give_what_the_whole_picture_gives(shape: dict[str, Any]) -> None:
    network = _network(**shape)
    assert difference(_fusion(network), network.tiling, SIZE, 40) < 1e-12
    network = _network(**shape, codebook=False)  # a code hides small differences
    fusion, tiling = _fusion(network), network.tiling
    assert difference(fusion, tiling, SIZE, 40) < 1e-12
    wider = tiling._replace(halo=tiling.halo + tiling.step)
    assert not sees_beyond(fusion, wider, tiling.halo, SIZE, 40)
    assert sees_beyond(fusion, wider, tiling.halo - 1, SIZE, 40)
