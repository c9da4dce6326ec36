"""A picture in tiles against the same picture as a whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.image_ops import contourlet_window
from ivif.image_ops.contourlet import contourlet
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


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_no_tile_transforms_a_wide_picture_whole(shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of 1,024 pixels in a picture of 1,130: columns from the other end, mirrored ones, and neither."""
    widths = []

    def watched(plane: Tensor, *levels: Any) -> Any:
        widths.append(plane.shape[-1])
        return contourlet(plane, *levels)

    monkeypatch.setattr(contourlet_window, "contourlet", watched)
    torch.manual_seed(0)
    small = {"channels": 2, "blocks": 0, "heads": 1, "detail_channels": (2, 2, 2, 2)}
    network = PromptFusionNetwork(PromptFusionConfig(**{**small, **shape}))
    exact(network)
    tiling = network.tiling
    side = 1024 - 2 * 256 - 2 * 16 - 2 * tiling.margin
    assert difference(lambda *pair: network(*pair).fused, tiling, (20, 1130), side) < 1e-9
    assert set(widths) == {1024}
