"""A trained fusion as a function of two pictures."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple, Self, cast, overload

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ivif.contracts.batch import Batch, StepOutput, batch_to_float
from ivif.datamodules.datasets.pair_transforms import fit
from ivif.datamodules.datasets.thermal import DEFAULT_THERMAL_RANGE, ThermalRange
from ivif.inference.pictures import Picture, infrared_of, like, visible_of
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection_sources import load_fusion
from ivif.lightning_modules.text_states import PromptEncoder
from ivif.machine.allocator import tune_malloc
from ivif.machine.devices import choose_device
from ivif.models.layers.frozen import freeze
from ivif.weights import find_weights

Array = NDArray[Any]

Tile = int | Literal["auto"] | None

Fused = Image.Image | Array | Tensor
"""A fused picture, of the kind that the visible one was of."""


class Detections(NamedTuple):
    """What a detector found in one picture, the surest first.

    Attributes:
        boxes: (N, 4), left, top, right and bottom in pixels of the visible picture.
        scores: (N,), in [0, 1].
        labels: The class of each, by name.
    """

    boxes: Tensor
    scores: Tensor
    labels: list[str]


class Fuser:
    """Fuses pictures with a trained network: `ivif.load` makes one.

    It may be called from several threads, which take turns with `tile="auto"`. In evaluation mode, without gradients;
    nothing is written.

    Args:
        task: What fuses.
        thermal_range: How infrared of more than 8 bits is scaled.
        tile: Fuses squares of so many pixels one after the other, with the whole picture's result; None fuses it whole,
            `auto` what fits into memory.

    Raises:
        ValueError: If the method cannot work in tiles, or a tile has no pixel.

    Attributes:
        task: The same, frozen.
    """

    def __init__(
        self, task: FusionTask, thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE, tile: Tile = None
    ) -> None:
        freeze(task)
        if tile is not None:
            task.use_tiles(tile)
        self.task = task.eval()
        self.thermal_range = thermal_range
        self._turn = self._turns()

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which is of one process: workers that are spawned get a Fuser with its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes the rest over."""
        self.__dict__.update(state)
        self._turn = self._turns()

    def _turns(self) -> AbstractContextManager[object]:
        """Memory is measured for one picture at a time."""
        return RLock() if self.task.tile == "auto" else nullcontext()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.task.device

    def to(self, device: str | torch.device) -> Self:
        """Moves the network."""
        self.task.to(device)
        return self

    @overload
    def __call__(  # type: ignore[overload-overlap] # a text is a sequence, too
        self, infrared: Picture, visible: str | Path | Image.Image, prompt: str | None = None
    ) -> Image.Image: ...

    @overload
    def __call__(self, infrared: Picture, visible: Array, prompt: str | None = None) -> Array: ...

    @overload
    def __call__(self, infrared: Picture, visible: Tensor, prompt: str | None = None) -> Tensor: ...

    @overload
    def __call__(
        self, infrared: Sequence[Picture], visible: Sequence[Picture], prompt: str | Sequence[str] | None = None
    ) -> list[Any]: ...

    def __call__(
        self,
        infrared: Picture | Sequence[Picture],
        visible: Picture | Sequence[Picture],
        prompt: str | Sequence[str] | None = None,
    ) -> Fused | list[Any]:
        """Fuses a pair, or each pair of two lists.

        Args:
            infrared: One channel: a file, a PIL picture, an array (H, W) or (H, W, 1 or 3), a tensor (H, W) or
                (1 or 3, H, W), of uint8, uint16 or floats in [0, 1].
            visible: The same of the visible light, grey or RGB. The infrared picture is resized to it.
            prompt: Text for a network that takes one; of each pair, or of all.

        Returns:
            The fused RGB picture, of the visible one's size and kind (a file's is a PIL picture); of lists, a list.

        Raises:
            UnreadableFileError: If a file cannot be read.
            ValueError: If a picture is none, the lists do not match, or the network takes no text.
        """
        if _is_list(infrared) or _is_list(visible):
            pairs = _pairs(infrared, visible, prompt)
            return [self._fused(one, other, text) for one, other, text in pairs]
        return self._fused(cast(Picture, infrared), cast(Picture, visible), cast("str | None", prompt))

    def _fused(self, infrared: Picture, visible: Picture, prompt: str | None) -> Fused:
        with torch.no_grad(), self._turn:
            fused = self.task.picture(self.batch(infrared, visible, prompt))["fused"]
        return like(fused[0], visible)

    def detect(self, infrared: Picture, visible: Picture, prompt: str | None = None) -> Detections:
        """What the network's detector finds in the fused picture of a pair.

        Raises:
            ValueError: As a call; and if the network has no detector.
        """
        if not self.task.class_names:
            raise ValueError(f"{type(self.task).__name__} has no detector: load one that was trained with boxes.")
        with torch.no_grad(), self._turn:
            found = self.task.fuse(self.batch(infrared, visible, prompt))["detections"][0]
        order = found["scores"].argsort(descending=True)
        labels = [self.task.class_names[label] for label in found["labels"][order].tolist()]
        return Detections(found["boxes"][order].cpu(), found["scores"][order].cpu(), labels)

    def fuse(self, batch: Batch) -> StepOutput:
        """A batch of float planes in [0, 1] on the network's device, as the network itself fuses it."""
        with torch.no_grad(), self._turn:
            return self.task.fuse(batch)

    def fuse_tensors(self, infrared: Tensor, visible: Tensor, prompts: Sequence[str] | None = None) -> Tensor:
        """Fuses a batch of pairs of one size.

        Args:
            infrared: (B, 1, H, W) in [0, 1].
            visible: (B, 3, H, W) in [0, 1].
            prompts: One of each pair.

        Returns:
            (B, 3, H, W) in [0, 1], on the network's device.
        """
        batch: dict[str, Any] = {"infrared": infrared.to(self.device), "visible": visible.to(self.device)}
        if prompts is not None:
            batch["prompt"] = self.texts(list(prompts))
        with torch.no_grad(), self._turn:
            return self.task.picture(cast(Batch, batch))["fused"]

    def batch(self, infrared: Picture, visible: Picture, prompt: str | None) -> Batch:
        """A batch of one pair, as `predict` would give it to the network; pictures and errors as in a call."""
        first, second = infrared_of(infrared, self.thermal_range), visible_of(visible)
        if first.shape[1:] != second.shape[1:]:
            first = fit(first, (second.shape[1], second.shape[2]))
        batch: dict[str, Any] = {"infrared": first[None], "visible": second[None].contiguous()}
        if prompt is not None:
            batch["prompt"] = self.texts([prompt])
        batch = {name: part.to(self.device) if isinstance(part, Tensor) else part for name, part in batch.items()}
        return batch_to_float(cast(Batch, batch))

    def texts(self, prompts: list[str]) -> list[str]:
        """The same prompts.

        Raises:
            ValueError: If the network takes none.
        """
        if not any(isinstance(part, PromptEncoder) for part in self.task.modules()):
            raise ValueError(f"{type(self.task).__name__} takes no text: leave the prompt out.")
        return prompts


def load_fuser(
    name: str | Path,
    device: str = "auto",
    thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE,
    keep_memory: bool = True,
    tile: Tile = None,
) -> Fuser:
    """See `ivif.load`."""
    place = choose_device(device)
    if keep_memory:
        tune_malloc()
    task, _ = load_fusion(find_weights(name, fetch=True))
    return Fuser(task.to(place), thermal_range, tile)


def _is_list(pictures: Picture | Sequence[Picture]) -> bool:
    return isinstance(pictures, list | tuple)


def _pairs(
    infrared: Picture | Sequence[Picture], visible: Picture | Sequence[Picture], prompt: str | Sequence[str] | None
) -> list[tuple[Picture, Picture, str | None]]:
    if not (_is_list(infrared) and _is_list(visible)):
        raise ValueError("one of infrared and visible is a list, the other is none: give two lists, or two pictures.")
    first, second = cast("Sequence[Picture]", infrared), cast("Sequence[Picture]", visible)
    texts = [prompt] * len(first) if prompt is None or isinstance(prompt, str) else list(prompt)
    if not len(first) == len(second) == len(texts):
        counts = f"{len(first)} infrared pictures, {len(second)} visible ones, {len(texts)} prompts"
        raise ValueError(f"{counts}: give as many of each.")
    return list(zip(first, second, texts, strict=True))
