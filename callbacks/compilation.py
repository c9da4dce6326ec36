"""Compiled networks: `torch.compile` in place, so that names of weights, checkpoints and results stay."""

from collections.abc import Iterator
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

MODES: Final = ("default", "max-autotune-no-cudagraphs")
"""Modes of `torch.compile` that record no CUDA graphs."""


class Compilation(Callback):
    """Compiles the parts of a task's fusion networks before the first batch.

    The first steps take longer (half a minute on two cores, a few minutes for large networks); every new frame size may
    take a compilation of its own, after the second one for sizes in general. Validation inside `fit` runs as it is
    written, because its frames come in many sizes. Detectors and CLIP are not compiled.

    Args:
        enabled: Whether to compile at all.
        mode: See `torch.compile`: `default`, or `max-autotune-no-cudagraphs`, which tries more kernels.
        dynamic: Whether sizes are taken as variable from the start; null finds out.

    Raises:
        ValueError: If the mode is another one.
    """

    def __init__(self, enabled: bool = False, mode: str = "default", dynamic: bool | None = None) -> None:
        if enabled and mode not in MODES:
            raise ValueError(
                f"--compilation.mode {mode}: it can be {' or '.join(MODES)}. Modes that record CUDA graphs write each "
                f"result where the one before lay, which a step of several levels, and what is kept between steps, may "
                f"still need."
            )
        self.enabled = enabled
        self.mode = mode
        self.dynamic = dynamic

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compiles; nothing is traced before the first batch.

        Raises:
            ValueError: If the task has no network to compile.
        """
        if not self.enabled:
            return
        parts = list(compilable_parts(pl_module))
        if not parts:
            raise ValueError(
                f"{type(pl_module).__name__} has no fusion network to compile: leave --compilation.enabled false."
            )
        for part in parts:
            part.compile(mode=self.mode, dynamic=self.dynamic)
        rank_zero_info(f"{len(parts)} parts of the network are compiled at the first batch.")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Inside `fit`, as written."""
        if self.enabled and trainer.state.fn == "fit":
            torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training goes on compiled."""
        if self.enabled and trainer.state.fn == "fit":
            torch.compiler.set_stance("default")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the process as it was."""
        if self.enabled:
            torch.compiler.set_stance("default")


def compilable_parts(task: Any) -> Iterator[nn.Module]:
    """The direct children of a task's networks.

    Parts, not networks: some run encoder and decoder apart, and a codebook must not be traced.
    """
    for network in task.networks():
        yield from network.children()
