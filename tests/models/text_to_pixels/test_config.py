from typing import Any

import pytest

from ivif.models.text_to_pixels import TextToPixelsConfig


@pytest.mark.parametrize(("attention", "stride"), [("patch", 8), ("window", 4), ("channel", 1)])
def test_stride_follows_the_attention(attention: Any, stride: int) -> None:
    assert TextToPixelsConfig(attention=attention).token_stride == stride
    assert TextToPixelsConfig(attention=attention, stride=16).token_stride == 16


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channels": 0}, "channels >= 1"),
        ({"stride": 0}, "token_stride >= 1"),
        ({"dilations": ()}, "dilations"),
        ({"decoder_channels": (8, 0)}, "decoder_channels"),
        ({"width": 60}, "multiple of heads"),
        ({"width": 6, "heads": 2}, "of 4"),
        ({"blocks": -1}, "blocks=-1"),
        ({"expansion": 0.0}, "expansion=0.0"),
        ({"attention": "none"}, "attention='none'"),
        ({"codebook_update": "none"}, "codebook_update='none'"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TextToPixelsConfig(**changes)


@pytest.mark.parametrize(("self_attention", "cross_attention"), [(False, False), (True, False), (False, True)])
def test_text_is_needed_only_for_cross_attention(self_attention: bool, cross_attention: bool) -> None:
    config = TextToPixelsConfig(self_attention=self_attention, cross_attention=cross_attention)
    assert config.needs_text is cross_attention
