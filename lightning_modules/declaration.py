"""What a task says about itself: commands, callbacks and data ask here, and know no method by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from lightning import LightningModule
from torch import nn

from ivif.models.layers.tiling import Tiling


@dataclass(frozen=True)
class DataNeeds:
    """What a task needs of its data beside pictures, labels and prompts.

    Args:
        clip_size: Side of the square views of whole frames that CLIP sees, in pixels; None where it sees none.
        saliency: Whether crops must bring the whole frame's saliency along.
        previous_results: Whether training reads what the task made of each frame in the epoch before.
    """

    clip_size: int | None = None
    saliency: bool = False
    previous_results: bool = False


class Declaration(LightningModule):
    """Members that any task may set anew; the defaults are those of a network with one optimiser and no detector.

    Options are named as on the command line, without `--model.`.
    """

    needs_weights: ClassVar[bool] = True
    """Whether `test` and `predict` refuse to run without a checkpoint."""

    scores_detection: ClassVar[bool] = False
    """Whether the task's outputs hold detections, so that mAP is scored (and prompts must not tell the labels)."""

    detector_option: ClassVar[str | None] = None
    """The argument that says which detector, for which the data must name classes; None where there is none."""

    training_options: ClassVar[frozenset[str]] = frozenset({"loss", "optimizer", "schedule"})
    """Arguments that change how it is trained, and nothing of what trained weights predict."""

    part_files: ClassVar[Mapping[str, str]] = {}
    """Parts that may start from a file of their own -> the option that names it. A checkpoint has such parts itself."""

    recompute_option: ClassVar[str | None] = None
    """The switch by which blocks are computed again in the backward pass, which saves memory and changes no result."""

    logs_learning_rates: ClassVar[bool] = False
    """Whether the task logs its learning rates itself."""

    uses_parameters_in_turn: ClassVar[bool] = False
    """Whether a step leaves some trained parameters out, so that processes must not wait for their gradients."""

    tile: int | Literal["auto"] | None = None
    """In evaluation, the side of the squares that a picture is fused in; None fuses it whole. See `use_tiles`."""

    class_names: tuple[str, ...] = ()
    """Name of each label that the task detects; none if it detects nothing."""

    watch_gradients: Callable[[str, torch.optim.Optimizer], None] | None = None
    """Set by a callback; a task with levels calls it with a level and its optimiser before it clips the gradients."""

    @property
    def data_needs(self) -> DataNeeds:
        """What the data must bring."""
        return DataNeeds()

    @property
    def accumulate(self) -> int:
        """Parts that a step takes each process's batch in, with the same result."""
        return 1

    @property
    def tiling(self) -> Tiling | None:
        """What the method needs of tiles; None where it cannot fuse in tiles."""
        return None

    @property
    def glance(self) -> int | None:
        """Side of the squares that the whole pictures are shrunk to, where the method sees them once (`fusion_of`)."""
        return None

    def use_tiles(self, tile: int | Literal["auto"]) -> None:
        """Fuses pictures in squares, with the result of the whole picture.

        Args:
            tile: Their side in pixels; `auto` takes as large ones as memory allows, and the whole picture if it fits.

        Raises:
            ValueError: If the method cannot, or a square has no pixel.
        """
        if self.tiling is None:
            raise ValueError(
                f"{type(self).__name__} cannot fuse in tiles: leave tile out, or make the pictures smaller."
            )
        if isinstance(tile, int) and tile < 1:
            raise ValueError(f"tile is {tile}: give the side of a square in pixels, such as 512, or auto.")
        self.tile = tile

    def networks(self) -> Sequence[nn.Module]:
        """The fusion networks, copies included, whose parts can be compiled; here: each child that is trained."""
        return [child for child in self.children() if any(own.requires_grad for own in child.parameters())]

    def smaller_parts(self, pairs: int, parts: int) -> str:
        """The options by which a step takes its batch in so many parts, of so many pairs each, with the same result."""
        return f"--loading.batch_size {pairs} --trainer.accumulate_grad_batches {parts}"

    def smaller_crops(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Options by which the loss looks at less of each frame, and the attributes that each of them changes."""
        return ()

    def check_trainer(self, accumulate: int, clip: float | None) -> None:
        """Refuses arguments of Lightning's trainer that the task does otherwise.

        Args:
            accumulate: `accumulate_grad_batches`.
            clip: `gradient_clip_val`.

        Raises:
            ValueError: Names the option, and what to give in its place.
        """
