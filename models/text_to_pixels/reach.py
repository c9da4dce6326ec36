"""How far a From Text to Pixels network sees, for tiles."""

from ivif.models.layers.tiling import Tiling
from ivif.models.text_to_pixels.config import TextToPixelsConfig


def tiling_of(config: TextToPixelsConfig) -> Tiling:
    """The halo, counted from the fused picture back to the images.

    Decoder, enlargement, blocks, extractor. Self-attention between all tokens or between channels is gathered.
    """
    stride = config.token_stride
    step = stride
    pixels = 2 + len(config.decoder_channels)  # 3x3 layers, of the codes as of the skipped features
    tokens = pixels if stride == 1 else -(-(2 * pixels - 1 + stride) // (2 * stride))  # bilinear: a token's neighbour
    if config.self_attention and config.attention == "window":
        step = stride * config.window
        for block in reversed(range(config.blocks)):
            tokens = _whole_windows(tokens, config.window, shifted=block % 2 == 1)
    elif config.self_attention and config.attention == "channel":
        tokens += config.blocks  # its depthwise convolution
    gathers = config.self_attention and config.blocks > 0 and config.attention == "patch"
    keeps = "all tokens of the whole picture" if gathers else ""
    return Tiling(tokens * stride + 1 + sum(config.dilations), step, keeps)


def _whole_windows(tokens: int, window: int, shifted: bool) -> int:
    """So many tokens beyond a border of windows, completed to windows, on the side where that takes more."""
    shift = window // 2 if shifted else 0
    ends = [shift, window - shift] if shift else [window]
    return max(end + max(0, -(-(tokens - end) // window)) * window for end in ends)
