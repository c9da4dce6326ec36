"""What a detector does around its network, for pictures whose size is not known yet: for exported files.

`postprocess` does the same for one size, with Python's numbers.
"""

from typing import Final, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from ivif.image_ops.resize import resize_to_any
from ivif.models.detection.base import ListedDetections
from ivif.models.detection.postprocess import GREY, MOST_CANDIDATES

_APART: Final = 2
"""More than two scores can differ by: pictures that are sorted together stay apart."""


class TracedLetterbox(NamedTuple):
    """How pictures were fitted into a network's input; each for left, top, right, bottom.

    Attributes:
        scale: Network's pixels per picture's pixel, (4,).
        shift: Pixels of padding before the picture, (4,).
        border: What no coordinate goes beyond, (4,).
    """

    scale: Tensor
    shift: Tensor
    border: Tensor

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) xyxy of the network in the picture's pixels, cut at its borders."""
        return torch.minimum((boxes - self.shift) / self.scale, self.border).clamp(min=0)


def traced_letterbox(images: Tensor, size: int | None, stride: int) -> tuple[Tensor, TracedLetterbox]:
    """Fits pictures as `letterbox` does, with the same rounding.

    The network's sides are multiples of numbers that the graph computes. Were they formulas of the pictures' sides,
    torch would rule out those for which a map of the network has a single row, and round in single precision.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size: Length of the longer side afterwards; `None` keeps the size.
        stride: The result's sides are the least multiples of it that hold the picture.
    """
    height, width = images.shape[-2:]
    sides = torch.stack([_number(height, images), _number(width, images)])
    scale = 1.0 if size is None else _number(size, images) / sides.max()  # a number by a tensor is rounded twice
    resized = (sides * scale).round().clamp(min=1)
    if size is not None:
        height, width = _length(resized[0]), _length(resized[1])
        images = resize_to_any(images, (height, width))
    steps = (resized / stride).ceil()
    below, right = _length(steps[0]) * stride - height, _length(steps[1]) * stride - width
    top, left = below // 2, right // 2
    images = F.pad(images, (left, right - left, top, below - top), value=GREY)
    shift = torch.stack([_number(left, images), _number(top, images)])
    fitted = (resized / sides).flip(0), shift, sides.flip(0)
    return images, TracedLetterbox(*(pair.to(images.dtype).repeat(2) for pair in fitted))


def suppress_together(
    boxes: Tensor, scores: Tensor, score_threshold: Tensor, iou_threshold: float, limit: int
) -> ListedDetections:
    """Keeps of a batch what `suppress` keeps of each picture.

    All pictures and classes at once: each has its own place in a plane, where it overlaps no other.

    Args:
        boxes: (B, A, 4) xyxy.
        scores: (B, A, classes) in [0, 1].
        score_threshold: Least score, a scalar.
        iou_threshold: Overlap above which the lower-scored box goes.
        limit: Most detections of a picture.
    """
    count = boxes.shape[0]  # not `len`, which asks for its value
    pictures, places, labels = (scores > score_threshold).nonzero(as_tuple=True)
    own = scores[pictures, places, labels]
    best = (own.double() - _APART * pictures).argsort(descending=True)
    best = best[_ranks(pictures[best], count) < MOST_CANDIDATES]
    pictures, places, labels, own = pictures[best], places[best], labels[best], own[best]
    chosen = boxes[pictures, places]
    span = boxes.max() - boxes.min() + 1
    apart = chosen + (torch.stack([labels, pictures], dim=1) * span).repeat(1, 2)
    kept = nms(apart, own, iou_threshold).sort().values
    kept = kept[_ranks(pictures[kept], count) < limit]
    return ListedDetections(chosen[kept], own[kept], labels[kept], pictures[kept])


def _ranks(pictures: Tensor, count: int) -> Tensor:
    """The place of each entry among those of its picture, from 0; entries are in the pictures' order."""
    first = (pictures[None] < torch.arange(count, device=pictures.device)[:, None]).sum(dim=1)
    return torch.arange(pictures.shape[0], device=pictures.device) - first[pictures]


def _number(value: int, like: Tensor) -> Tensor:
    """A number that Python computes with in double precision, or one that an export does not know yet."""
    return torch.full((), value, dtype=torch.float64, device=like.device)


def _length(number: Tensor) -> int:
    length = cast(int, number.long().item())  # not `int`, which asks for its value
    torch._check(length >= 1)
    return length
