"""How much memory a training step of MGFusion takes, known before it is tried."""

from typing import Final

from ivif.models.mgfusion.config import MGFusionConfig

AUTO_CHECKPOINT_BYTES: Final = 8 * 2**30
"""With `checkpoint_blocks: auto`, blocks are computed again where the step would otherwise take more than this."""

_ALLOCATOR_OVERHEAD = 1.12  # measured peaks over tensors kept: 1.0 to 1.13


def whole_step(config: MGFusionConfig, batch: int, height: int, width: int) -> int:
    """Peak memory of a float32 training step that keeps everything, beyond the process itself and CLIP.

    Counts the values per pixel that autograd keeps, in units of C: 10 + 6 * expansion for each Restormer block, 15.5
    for the other layers, 10.2 more with CII and 8.3 with CFF. Against measured peaks on a CPU at C = 16..64, N = 1..4,
    batch 1..4 of 256x256 it is -5 to +16 % off; for `base` at batch 16 of 256x256 it gives 23.2 GiB. A formula, because
    a network asks it at each step; what a run needs is estimated by the task itself.

    Args:
        config: Shape of the network.
        batch: Pairs in a batch (on one device).
        height: Height in pixels.
        width: Width in pixels.

    Returns:
        Bytes.
    """
    blocks = 3 * config.blocks * (10.0 + 6.0 * config.expansion)
    kept = blocks + 15.5 + 10.2 * config.use_cii + 8.3 * config.use_cff
    return round(kept * config.channels * batch * height * width * 4 * _ALLOCATOR_OVERHEAD)


def recomputes_blocks(config: MGFusionConfig, batch: int, height: int, width: int) -> bool:
    """Whether a training step at this size computes the Restormer blocks' inside again in its backward pass.

    The precision plays no part, so that a run does the same with and without autocast.

    Args:
        config: Shape of the network; decides unless `checkpoint_blocks` is `auto`.
        batch: Pairs in a batch (on one device).
        height: Height in pixels.
        width: Width in pixels.

    Returns:
        The decision.
    """
    if config.checkpoint_blocks != "auto":
        return config.checkpoint_blocks
    return whole_step(config, batch, height, width) > AUTO_CHECKPOINT_BYTES
