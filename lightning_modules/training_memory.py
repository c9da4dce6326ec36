"""How much memory a training step takes, from what a small one keeps for its backward pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import torch
from torch import Tensor, nn

from datamodules.datasets.batch import Batch
from lightning_modules.bilevel import BilevelConfig
from lightning_modules.level_batch import CropConfig

PROBE_SIDE: Final = 64
_PROBE_PAIRS: Final = 2
_WORKING_SHARE: Final = 1.25
"""Peak over what is kept: gradients of activations, temporaries, the allocator.

From Text to Pixels (light and base, YOLOv5n, 128 and 192 pixels, batch 2 to 8; joint, alternate, value function) peaks
on a CPU between 13 % below and 1 % above the estimate.
"""
_WITHOUT_GRADIENT: Final = 0.5
"""Share of what a forward pass would keep that it holds at once when nothing is kept."""


def kept_bytes(run: Callable[[], Tensor], modules: Iterable[nn.Module]) -> int:
    """Bytes that autograd keeps between forward and backward.

    Args:
        run: A forward pass.
        modules: Whose parameters and buffers are not counted.

    Returns:
        The bytes, each storage once.
    """
    own = {tensor.untyped_storage().data_ptr() for m in modules for tensor in (*m.parameters(), *m.buffers())}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a result that its own graph kept as it is would never be freed

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # held here: storages that are freed would give their addresses to others
    del result
    return sum(found.values())


def probe(pairs: int, height: int, width: int, device: torch.device) -> Batch:
    """Pairs of noise with one box each."""
    box = torch.tensor([[0.1 * width, 0.1 * height, 0.6 * width, 0.6 * height]], device=device)
    target = {"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=device)}
    return cast(
        "Batch",
        {
            "infrared": torch.rand(pairs, 1, height, width, device=device),
            "visible": torch.rand(pairs, 3, height, width, device=device),
            "targets": [target] * pairs,
            "prompt": ["a street"] * pairs,
            **{key: [f"probe {index}" for index in range(pairs)] for key in ("name", "dataset", "content_id")},
        },
    )


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Weights, statistics, gradients and torch's generator are afterwards what they were."""
    tensors = [*module.parameters(), *module.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)


def crop_pixels(crops: CropConfig, pairs: int, height: int, width: int) -> int:
    """Pixels that the fusion loss is computed on."""
    if crops.size is None or crops.size > min(height, width):
        return pairs * height * width
    return pairs * crops.per_frame * crops.size**2


def peak_bytes(bilevel: BilevelConfig, lower: float, fusion: float, detector: float) -> float:
    """Bytes at the peak of an iteration, of what its parts keep.

    Args:
        bilevel: The scheme: `joint` and `value_function` differentiate both losses at once, `separate` and
            `alternate` hold fusion fixed under the detector.
        lower: Kept by the fusion loss on the crops.
        fusion: Kept by fusing the frames.
        detector: Kept by the detector on the result.
    """
    if bilevel.scheme in ("separate", "alternate"):
        kept = max(lower, detector, _WITHOUT_GRADIENT * fusion)
    elif bilevel.scheme == "rank1":
        kept = max(lower, fusion + detector)
    else:
        kept = lower + fusion + detector
    return _WORKING_SHARE * kept / bilevel.accumulate


def probe_pixels() -> int:
    """Pixels of the small batch."""
    return _PROBE_PAIRS * PROBE_SIDE**2


def small_probe(device: torch.device) -> Batch:
    """A batch that costs little."""
    return probe(_PROBE_PAIRS, PROBE_SIDE, PROBE_SIDE, device)
