"""What helps where a step does not fit: only options that the stage knows, each with what it would need."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer

from ivif.contracts.batch import BatchSize
from ivif.machine.free_memory import free_memory

GIB: Final = 2**30


class Remedy(NamedTuple):
    """An option, and the size and switches that the step would then have.

    Attributes:
        option: As on the command line, with a word on what it changes where it changes results.
        size: (pairs, height, width).
        switches: Of `FusionTask.estimate_memory`.
    """

    option: str
    size: tuple[int, int, int]
    switches: dict[str, Any]


def remedies(trainer: Trainer, task: LightningModule, stage: str, size: BatchSize, free: int) -> str:
    """Sentences with what makes the step fit, cheapest first; else with all that lowers its need.

    Args:
        trainer: Gives precision and device.
        task: Estimates each.
        stage: `train`, `val`, `test` or `predict`.
        size: Of the batch that does not fit.
        free: Bytes that it may take.
    """
    estimate: Callable[..., Any] = task.estimate_memory  # type: ignore[assignment]
    before = estimate(size[:3], stage == "train")
    needs = [
        (each.option, estimate(each.size, stage == "train", **each.switches))
        for each in _known(trainer, task, stage, size)
    ]
    helping = [(option, need) for option, need in needs if need is not None and need < before]
    enough = [(option, need) for option, need in helping if need <= free]
    listed = ", or ".join(
        f"{option} ({need / GIB:.1f} GiB)" for option, need in _shortest(enough) or _furthest(helping)
    )
    first = (
        f"Use {listed}"
        if enough
        else f"Each of these lowers the need, none alone is enough: {listed}"
        if listed
        else ""
    )
    return ". ".join([*filter(None, [first]), *_elsewhere(trainer, stage, before, size)]) + "."


def _shortest(found: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Of the same option with several values, the first that is enough."""
    return list({option.split(" ")[0]: (option, need) for option, need in reversed(found)}.values())[::-1]


def _furthest(found: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Of the same option with several values, the one that lowers the need most."""
    return list({option.split(" ")[0]: (option, need) for option, need in found}.values())


def _known(trainer: Trainer, task: Any, stage: str, size: BatchSize) -> Iterator[Remedy]:
    pairs, height, width, _ = size
    full = pairs, height, width
    transforms = getattr(trainer.datamodule, "transforms", None)  # type: ignore[attr-defined]
    if stage == "train":
        yield from _smaller_parts(trainer, task, size)
        if option := task.recompute_option:
            yield Remedy(f"--model.{option} true", full, {"recompute": True})
    elif pairs > 1:
        option = f"--loading.{'predict_batch' if stage == 'predict' else 'batch_size'}"
        yield from (Remedy(f"{option} {part}", (part, height, width), {}) for part in _halves(pairs))
    if stage in ("test", "predict") and task.tile is None and task.tiling is not None:
        yield Remedy("--tile auto", task.smallest_part(pairs, height, width), {})
    if "16" not in str(trainer.precision):
        yield Remedy("--trainer.precision bf16-mixed", full, {"half": True})
    if stage == "train" and getattr(transforms, "crop", None):
        yield from (Remedy(f"--transforms.crop {side}", (pairs, side, side), {}) for side in _halves(height, 8))
    elif stage != "predict":
        for rows, columns in zip(_halves(height, 64), _halves(width, 64), strict=False):
            option = "test_resize" if stage == "test" else "resize"
            yield Remedy(f"--transforms.{option} [{rows},{columns}] for smaller frames", (pairs, rows, columns), {})
    if stage == "train":
        yield from (Remedy(option, full, {"replaced": crops}) for option, crops in task.smaller_crops())


def _smaller_parts(trainer: Any, task: Any, size: BatchSize) -> Iterator[Remedy]:
    loading = getattr(trainer.datamodule, "loading", None)
    sharing = trainer.world_size if getattr(loading, "share_batch", False) else 1
    for part in _halves(size.pairs):
        option = task.smaller_parts(part * sharing, -(-size.pairs // part) * trainer.accumulate_grad_batches)
        yield Remedy(option, (part, size.height, size.width), {})


def _halves(number: int, least: int = 1) -> Iterator[int]:
    while (number := number // 2) >= least:
        yield number


def _elsewhere(trainer: Trainer, stage: str, need: int, size: BatchSize) -> Iterator[str]:
    device = trainer.strategy.root_device
    if stage != "train" and device.type != "cpu" and (free_memory(torch.device("cpu")) or 0) >= need:
        yield "--trainer.accelerator cpu has the memory"
    if stage == "val" and trainer.state.fn == "fit":
        yield "--trainer.limit_val_batches 0 leaves validation out"
    if stage == "predict":
        yield f"Predict takes every pair at its own size: store {size.pair} smaller, or move its files elsewhere"
    yield "--memory_guard.enabled false tries all the same"
