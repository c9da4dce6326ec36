"""How much memory a step takes: what of a task is run, on what batches, and how the parts add up."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import MethodType
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ivif.bilevel import BilevelConfig
from ivif.contracts.batch import Batch
from ivif.lightning_modules.fake_tensor_memory import Use, measure, really
from ivif.lightning_modules.level_batch import CropConfig
from ivif.models.detection import Detector, DetectorConfig
from ivif.models.detection.base import configured

Arithmetic = Callable[[], AbstractContextManager[Any]]
"""Precision of a forward pass."""

PROBE_SIDE: Final = 64
"""Side of the pictures that are really computed, before larger ones are imagined."""
ALLOCATOR_SHARE: Final = 1.06
ALLOCATOR_BYTES: Final = 32 * 2**20
"""What allocators and kernels take over the tensors themselves: measured peaks are 1.0 to 1.1 times those, and more."""
_DETECTOR_SIDE: Final = 128
_DETECTOR: Final = 2.0
"""What a detector takes on a CPU, over its tensors: oneDNN copies a layer's input and output into its own layout."""
_TRAINED_DETECTOR: Final = 1.25
"""The same in training, where most is kept for the backward pass and the rest is the allocator's."""


def probe(pairs: int, height: int, width: int, device: torch.device, planes: Mapping[str, int] | None = None) -> Batch:
    """Pairs of noise with one box each.

    Args:
        pairs: How many.
        height: Of each.
        width: Of each.
        device: Where they lie.
        planes: Further planes and their channels.
    """
    box = torch.tensor([[0.1 * width, 0.1 * height, 0.6 * width, 0.6 * height]], device=device)
    target = {"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=device)}
    channels = {"infrared": 1, "visible": 3, **(planes or {})}
    return cast(
        "Batch",
        {
            **{key: torch.rand(pairs, count, height, width, device=device) for key, count in channels.items()},
            "targets": [target] * pairs,
            "prompt": ["a street"] * pairs,
            **{key: [f"probe {index}" for index in range(pairs)] for key in ("name", "dataset", "content_id")},
        },
    )


def like(batch: Batch, pairs: int, height: int, width: int, planes: Mapping[str, int]) -> Batch:
    """A batch with the entries of a small one, and further planes, at another size."""
    found = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
    channels = {key: value.shape[1] for key, value in found.items()} | dict(planes)
    device, dtype = batch["infrared"].device, batch["infrared"].dtype
    lists = {key: value[:1] * pairs for key, value in batch.items() if isinstance(value, list)}
    sized = {
        key: torch.rand(pairs, count, height, width, device=device, dtype=dtype) for key, count in channels.items()
    }
    return cast("Batch", {**sized, **lists})


def use_of(
    run: Callable[[Batch], Any],
    small: Batch,
    size: tuple[int, int, int],
    arithmetic: Arithmetic,
    module: nn.Module | None = None,
    planes: Mapping[str, int] | None = None,
) -> Use:
    """What a piece of work holds at a size, inside of `imagined`.

    A small batch is really run first, so that whatever is remembered has content.

    Args:
        run: The work; with a module it returns a loss.
        small: A small batch.
        size: (pairs, height, width).
        arithmetic: Precision.
        module: By whose trained weights the loss is differentiated; None: nothing is kept for a backward pass.
        planes: Further planes that larger batches have.
    """
    parameters = [] if module is None else [p for p in module.parameters() if p.requires_grad]
    with really(), torch.no_grad(), arithmetic():
        run(small)
    return measure(partial(run, like(small, *size, planes or {})), parameters, arithmetic)


def detector_use(
    detector: Detector,
    run: Callable[[Batch], Any],
    size: tuple[int, int, int],
    device: torch.device,
    arithmetic: Arithmetic,
    trains: bool,
) -> Use:
    """What a detector holds: of one and of two small pictures, scaled to the pixels that its network sees.

    Its losses and its suppression look at values, so they are really computed. What does not grow with the batch
    (weights in half precision, gradients of weights) is counted once.

    Args:
        detector: Whose input size is meant.
        run: Frames -> its loss or its answers.
        size: (pairs, height, width) of the frames.
        device: Where they lie.
        arithmetic: Precision.
        trains: Whether the loss is differentiated.
    """
    pairs, height, width = size
    config = detector.config
    scale = _DETECTOR_SIDE / max(height, width)
    frame = max(32, round(height * scale / 32) * 32), max(32, round(width * scale / 32) * 32)
    parameters = [p for p in detector.parameters() if p.requires_grad] if trains else []
    with really(), configured(detector, image_size=None):  # a small picture then costs little
        one, two = (measure(partial(run, probe(n, *frame, device)), parameters, arithmetic) for n in (1, 2))
        pictures = pairs * network_pixels(config, height, width) / network_pixels(detector.config, *frame)
    share = (_TRAINED_DETECTOR if trains else _DETECTOR) if device.type == "cpu" else 1.0
    kept = _scaled(one.kept, two.kept, pictures)
    peak = kept + _scaled(one.peak - one.kept, two.peak - two.kept, pictures)
    return Use(round(share * kept), round(share * peak), one.left)


def _scaled(one: int, two: int, pictures: float) -> float:
    """What so many pictures hold, of what one and two do; the rest does not grow."""
    each = max(0, two - one)
    return one + (pictures - 1) * each


def network_pixels(config: DetectorConfig, height: int, width: int) -> int:
    """Pixels that a detector's network sees of a frame."""
    if config.architecture == "ssdlite320":
        return 320 * 320
    scale = 1.0 if config.image_size is None else config.image_size / max(height, width)
    rows, columns = (-(-round(side * scale) // 32) * 32 for side in (height, width))
    return rows * columns


def crop_size(crops: CropConfig, pairs: int, height: int, width: int) -> tuple[int, int, int]:
    """(pairs, height, width) that the fusion loss is computed on."""
    if crops.size is None or crops.size > min(height, width):
        return pairs, height, width
    return pairs * crops.per_frame, crops.size, crops.size


def iteration_use(bilevel: BilevelConfig, lower: Use, fusion: Use, detector: Use) -> Use:
    """What an iteration of a scheme holds, of what its parts do.

    Args:
        bilevel: The scheme, whose solver says what it holds at once. Of batches that are cut into parts, each loss has
            a backward pass by itself.
        lower: The fusion loss on the crops.
        fusion: Fusing the frames; without gradient where the scheme holds fusion fixed under the detector.
        detector: The detector's loss on the result.
    """
    scheme = bilevel.solver_class
    held = fusion.into(detector) if scheme.upper_reaches_lower else fusion.then(detector)
    for _ in range(scheme.lower_graphs if bilevel.accumulate == 1 else 0):
        held = lower + held
    return largest([lower, held])


def largest(uses: Sequence[Use]) -> Use:
    """The one with the highest peak; nothing where there are none."""
    return max(uses, key=lambda use: use.peak, default=Use(0, 0))


def normalise_alone(module: nn.Module) -> None:
    """Has synchronised BatchNorm take the process's own statistics: the exchange takes a few numbers of each channel.

    Tensors without content cannot be exchanged, nor do all processes estimate the same.
    """
    for part in module.modules():
        if isinstance(part, nn.SyncBatchNorm):
            vars(part)["forward"] = MethodType(_BatchNorm.forward, part)


def compute_blocks_again(module: nn.Module) -> None:
    """Sets every network that can (`network.checkpoint_blocks`) to compute its blocks again in the backward pass."""
    for part in module.modules():
        if hasattr(getattr(part, "config", None), "checkpoint_blocks"):
            part.config = replace(cast("Any", part.config), checkpoint_blocks=True)
        if hasattr(part, "recompute"):
            setattr(part, "recompute", True)  # noqa: B010 - an attribute of some modules, not of all
