"""What fusing a picture costs: parameters, floating-point operations, time and memory, at a stated size and device."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ivif.contracts.batch import Batch, StepOutput
from ivif.lightning_modules.fake_tensor_memory import LiveBytes

COLUMNS: Final = ("parameters (M)", "GFLOPs", "ms", "memory (MiB)", "measured at")
"""What tables show of it."""

MOST_PASSES: Final = 20
"""Passes that are timed at most; the median counts."""

_SENTENCE: Final = "persons and cars on a street at night, number"

_numbers = itertools.count()
"""A task keeps the sentences that it has read; with as many digits each, all take as many tokens."""

SECONDS: Final = 5.0
"""After this time no further pass is begun."""


@dataclass(frozen=True)
class Efficiency:
    """The cost of one picture.

    Attributes:
        parameters: Numbers in the weights that a fused picture runs through: with a frozen encoder, without a detector.
        operations: Floating-point operations, a multiplication and an addition counted as two, of convolutions,
            matrix products and attention, as `torch.utils.flop_counter` counts them.
        seconds: The median of one pass.
        memory: Bytes that these weights and the tensors of a pass take at most.
        measured: Size, device and precision.
    """

    parameters: int
    operations: int
    seconds: float
    memory: int
    measured: str

    def row(self) -> dict[str, float | str]:
        """Its columns in a table."""
        numbers = (self.parameters / 1e6, self.operations / 1e9, self.seconds * 1e3, self.memory / 2**20)
        return dict(zip(COLUMNS, (*numbers, self.measured), strict=True))


def measure(
    task: nn.Module, fuse: Callable[[Batch], StepOutput], size: tuple[int, int], device: torch.device
) -> Efficiency:
    """Measures what fuses a picture, on one random pair with a sentence that was not read before in each pass.

    Args:
        task: In evaluation mode.
        fuse: Its method that makes the picture.
        size: (width, height).
        device: Where the task is.
    """
    generator = torch.Generator().manual_seed(0)
    infrared, visible = (torch.rand(1, planes, size[1], size[0], generator=generator) for planes in (1, 3))
    pair = {"infrared": infrared.to(device), "visible": visible.to(device)}

    def fuse_next() -> None:
        fuse(cast(Batch, {**pair, "prompt": [f"{_SENTENCE} {next(_numbers):06}"]}))

    with torch.no_grad(), _without_gradients(task):
        with _modules_used(task) as used:  # the first pass, which also fills what is kept between passes
            fuse_next()
        weights = {id(each): each for module in used for each in module.parameters(recurse=False)}.values()
        buffers = {id(each): each for module in used for each in module.buffers(recurse=False)}.values()
        held = sum(each.numel() * each.element_size() for each in (*weights, *buffers))
        with FlopCounterMode(display=False) as counter:
            fuse_next()
        seconds = _median_seconds(fuse_next, device)
        memory = held + _peak_of_pass(fuse_next, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = next((str(each.dtype).removeprefix("torch.") for each in weights), "float32")
    measured = f"{size[0]}x{size[1]}, {name}, {precision}"
    parameters = sum(each.numel() for each in weights)
    return Efficiency(parameters, counter.get_total_flops(), seconds, memory, measured)


@contextmanager
def _without_gradients(task: nn.Module) -> Iterator[None]:
    """Weights that ask for no gradient within the block: the counter stops at a module that returns one that does."""
    asking = [each for each in task.parameters() if each.requires_grad]
    for each in asking:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in asking:
            each.requires_grad_(True)


@contextmanager
def _modules_used(task: nn.Module) -> Iterator[list[nn.Module]]:
    """Collects the modules that are called within the block."""
    used: list[nn.Module] = []
    hooks = [module.register_forward_pre_hook(lambda module, _: used.append(module)) for module in task.modules()]
    try:
        yield used
    finally:
        for hook in hooks:
            hook.remove()


def _median_seconds(fuse: Callable[[], None], device: torch.device) -> float:
    found: list[float] = []
    while len(found) < MOST_PASSES and sum(found) < SECONDS:
        _wait(device)
        start = time.perf_counter()
        fuse()
        _wait(device)
        found.append(time.perf_counter() - start)
    return sorted(found)[len(found) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_of_pass(fuse: Callable[[], None], device: torch.device) -> int:
    """Bytes that tensors hold at most during a pass, beyond what they held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        fuse()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with LiveBytes() as live:
        fuse()
    return int(live.peak)
