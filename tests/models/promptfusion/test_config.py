from typing import Any

import pytest

from ivif.models.promptfusion import PromptFusionConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channels": 60}, "multiple of heads"),
        ({"channels": 9, "heads": 3}, "even"),
        ({"heads": 0}, "heads >= 1"),
        ({"blocks": -1}, "blocks=-1"),
        ({"expansion": 0.0}, "expansion=0.0"),
        ({"base_expansion": 0.01}, "base_expansion=0.01"),
        ({"detail_channels": (8, 8, 8)}, "4 numbers"),
        ({"detail_channels": (8, 8, 0, 8)}, "detail_channels"),
        ({"margin": 8}, "multiple of 16"),
        ({"margin": -16}, "multiple of 16"),
        ({"coupling_nodes": 0}, "coupling_nodes"),
        ({"detail": "wavelet"}, "detail='wavelet'"),
        ({"pairing": "none"}, "pairing='none'"),
        ({"residual": "mean"}, "residual='mean'"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PromptFusionConfig(**changes)
