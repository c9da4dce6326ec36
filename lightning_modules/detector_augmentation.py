"""YOLOv5's augmentation of the picture that a detector sees: after fusion, so that pairs stay as they are.

Fusion looks at whole pairs with their own text and saliency; the detector, at mosaics of what fusion made of them.
All is differentiable, so a detector's loss reaches fusion through it. Pictures of infrared, of visible and of any
fusion go through the same code. The draws come from torch's own generator, which a resumed run gets back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ivif.contracts.batch import Targets, empty_targets
from ivif.image_ops.color import recolor, split_luma_chroma
from ivif.image_ops.resize import resize

_GREY: Final = 114 / 255
_LEAST_SIDE: Final = 2.0
_LEAST_SHARE: Final = 0.1
"""Of a box's area that must still be seen; as YOLOv5, like the least side in pixels."""


@dataclass(frozen=True)
class DetectorAugmentation:
    """How the pictures of a batch are changed before the detector's loss; the defaults change nothing.

    YOLOv5's settings (hyp.scratch-low) are `{mosaic: 1.0, scale: 0.5, translate: 0.1, hue: 0.015, saturation: 0.7,
    brightness: 0.4}`; flips belong to the data's transforms.

    Args:
        mosaic: Probability, in [0, 1], that a picture is joined from four of the batch (of its part, where batches are
            cut into parts), drawn with repetition.
        scale: Pictures are shown at 1 - scale to 1 + scale times their size; in [0, 1).
        translate: And moved by up to this share of the frame; in [0, 1).
        hue: Largest turn of hue, as a share of the whole circle; in [0, 1].
        saturation: Saturation is multiplied by 1 - saturation to 1 + saturation; in [0, 1].
        brightness: Luma likewise; in [0, 1].

    Raises:
        ValueError: If a number is out of range.
    """

    mosaic: float = 0.0
    scale: float = 0.0
    translate: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            below_one = name in ("scale", "translate")
            if not 0 <= value <= 1 or (below_one and value == 1):
                bounds = "[0, 1)" if below_one else "[0, 1]"
                raise ValueError(f"training.augmentation.{name} is {value}; it must lie in {bounds}.")

    def __call__(self, images: Tensor, targets: Sequence[Targets]) -> tuple[Tensor, list[Targets]]:
        """Pictures (B, 3, H, W) in [0, 1] and their objects, changed together."""
        if self == DetectorAugmentation():
            return images, list(targets)
        drawn = [self._arranged(images, targets, index) for index in range(len(images))]
        return self._colored(torch.stack([image for image, _ in drawn])), [found for _, found in drawn]

    def _arranged(self, images: Tensor, targets: Sequence[Targets], index: int) -> tuple[Tensor, Targets]:
        """One picture, or four around a meeting point, at a random size and place on grey."""
        height, width = images.shape[-2:]
        factor = 1 + self.scale * _signed()
        size = max(1, round(height * factor)), max(1, round(width * factor))
        row, column = (side * (0.5 + self.translate * _signed()) for side in (height, width))
        if _uniform() < self.mosaic:
            row, column = row + 0.5 * size[0] * _signed(), column + 0.5 * size[1] * _signed()
            chosen = [index, *torch.randint(len(images), (3,)).tolist()]
            corners = [(round(row) - size[0] * up, round(column) - size[1] * left) for up in (1, 0) for left in (1, 0)]
        else:
            chosen, corners = [index], [(round(row - size[0] / 2), round(column - size[1] / 2))]
        canvas = images.new_full(images.shape[1:], _GREY)
        shown = []
        for each, corner in zip(chosen, corners, strict=True):
            _paste(canvas, images[each], size, corner)
            shown.append(_moved(targets[each], (size[1] / width, size[0] / height), corner, (height, width)))
        return canvas, _joined(shown)

    def _colored(self, images: Tensor) -> Tensor:
        if not (self.hue or self.saturation or self.brightness):
            return images
        luma, chroma = split_luma_chroma(images)
        turns = torch.tensor([_signed() for _ in images]) * self.hue * 2 * math.pi
        strengths = torch.tensor([self.brightness, self.saturation])
        gains = strengths * torch.tensor([[_signed(), _signed()] for _ in images])
        brightness, saturation = (1 + gains).to(images).view(-1, 2, 1, 1, 1).unbind(1)
        sine, cosine = turns.sin().to(images).view(-1, 1, 1), turns.cos().to(images).view(-1, 1, 1)
        blue, red = chroma.unbind(1)
        turned = torch.stack([cosine * blue - sine * red, sine * blue + cosine * red], dim=1)
        return recolor(brightness * luma, brightness * saturation * turned)


def _uniform() -> float:
    return float(torch.rand(()))


def _signed() -> float:
    """One draw from [-1, 1)."""
    return 2 * _uniform() - 1


def _paste(canvas: Tensor, image: Tensor, size: tuple[int, int], corner: tuple[int, int]) -> None:
    """What of an image at a size lies on the canvas, its upper left corner at `corner`."""
    (top, left), (height, width) = corner, canvas.shape[-2:]
    rows = slice(max(0, top), min(height, top + size[0]))
    columns = slice(max(0, left), min(width, left + size[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    resized = resize(image[None], size, "bilinear")[0]
    canvas[:, rows, columns] = resized[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ].to(canvas)


def _moved(targets: Targets, factors: tuple[float, float], corner: tuple[int, int], frame: tuple[int, int]) -> Targets:
    """Objects that are still seen, and what is left of ignored regions."""
    boxes = targets["boxes"]
    moved = boxes * boxes.new_tensor(factors * 2) + boxes.new_tensor((corner[1], corner[0]) * 2)
    clipped = moved.clamp(min=0).minimum(boxes.new_tensor((frame[1], frame[0]) * 2))
    sides, full = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
    kept = (sides.amin(dim=1) > _LEAST_SIDE) & (sides.prod(dim=1) > _LEAST_SHARE * full.prod(dim=1))
    found: Targets = {"boxes": clipped[kept], "labels": targets["labels"][kept]}
    if "ignored" in targets:
        found["ignored"] = _moved(targets["ignored"], factors, corner, frame)
    return found


def _joined(parts: Sequence[Targets]) -> Targets:
    joined: Targets = {
        "boxes": torch.cat([part["boxes"] for part in parts]),
        "labels": torch.cat([part["labels"] for part in parts]),
    }
    if any("ignored" in part for part in parts):
        device = joined["boxes"].device
        empty = {key: value.to(device) for key, value in empty_targets().items()}  # type: ignore[attr-defined]
        joined["ignored"] = _joined([part.get("ignored", empty) for part in parts])  # type: ignore[misc]
    return joined
