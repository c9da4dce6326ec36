from typing import Any

import pytest

from ivif.models.mgfusion.config import MGFusionConfig


@pytest.mark.parametrize(
    ("use_cii", "use_cff", "expected"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_only_without_both_is_clip_not_needed(use_cii: bool, use_cff: bool, expected: bool) -> None:
    assert MGFusionConfig(use_cii=use_cii, use_cff=use_cff).needs_clip is expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 30},
        {"channels": 0},
        {"blocks": -1},
        {"expansion": 0.01},
        {"out_channels": 2},
        {"gate": "softmax"},
        {"clip_norm": "l1"},
        {"sawp_channels": 3},
        {"tanh_range": "half"},
        {"checkpoint_blocks": "yes"},
    ],
)
def test_wrong_values_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MGFusionConfig(**wrong)
