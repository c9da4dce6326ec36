"""Limits of a detector's configuration, and evaluation mode for a while."""

from typing import Any

import pytest
from torch import nn

from ivif.models.detection import DetectorConfig
from ivif.models.detection.base import evaluating


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 31}, "image_size is 31; it must be at least 32 pixels, or null"),
        ({"score_threshold": 1.01}, "score_threshold is 1.01"),
        ({"iou_threshold": -0.01}, "iou_threshold is -0.01"),
        ({"iou_threshold": float("nan")}, "iou_threshold is nan"),
        ({"max_detections": 0}, "max_detections is 0"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorConfig(**options)


def test_the_limits_themselves_are_allowed() -> None:
    assert DetectorConfig(image_size=32, score_threshold=0, iou_threshold=1, max_detections=1).image_size == 32
    assert DetectorConfig(image_size=None).image_size is None


def test_every_module_gets_its_own_mode_back_even_after_an_error() -> None:
    module = nn.Sequential(nn.Dropout().eval(), nn.Sequential(nn.Dropout()))
    module[0].eval()
    before = [entry.training for entry in module.modules()]
    assert before == [True, False, True, True]
    with evaluating(module):
        assert not any(entry.training for entry in module.modules())
    assert [entry.training for entry in module.modules()] == before
    with pytest.raises(MemoryError), evaluating(module):
        raise MemoryError
    assert [entry.training for entry in module.modules()] == before
