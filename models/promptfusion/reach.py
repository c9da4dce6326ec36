"""How far a PromptFusion network sees, for tiles."""

from ivif.image_ops.contourlet import size_multiple
from ivif.models.layers.tiling import Tiling
from ivif.models.promptfusion.config import PromptFusionConfig


def tiling_of(config: PromptFusionConfig) -> Tiling:
    """The halo, counted from the fused picture back to the images.

    Attention's sums are gathered, and the plane of the whole picture whose subbands the detail branch reads.
    """
    blocks = 2 * config.blocks  # a depthwise convolution in each half of a block
    decoder = 2 + blocks
    base = decoder + 2 + 2
    detail = _detail(decoder + 2 * config.coupling_nodes)
    return Tiling(1 + blocks + max(base, detail), size_multiple())


def _detail(pixels: int) -> int:
    """Pixels of the detail branch's input that so many of its output beyond a border depend on.

    Each scale is read by the next finer one, which it enlarges, and by itself, as what is skipped.
    """
    half = pixels // 2 + 1  # bilinear
    quarter = _coarser(half)
    eighth = _coarser(quarter)
    sixteenth = _coarser(eighth) + 1
    eighth = max(eighth + 2, _halved(sixteenth)) + 1
    quarter = max(quarter + 2, _halved(eighth)) + 1
    half = max(half + 2, _halved(quarter))
    return _halved(half)


def _coarser(cells: int) -> int:
    """Cells of half the size that an `UpBlock` reads: its two layers, the enlarged layer, the enlargement."""
    return -(-(cells + 3) // 2)


def _halved(cells: int) -> int:
    """Cells of twice the size that a 3x3 layer of stride 2 reads."""
    return 2 * cells + 1
