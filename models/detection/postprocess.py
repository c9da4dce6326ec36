"""Between an image's pixels and a network's: letterbox, box formats, non-maximum suppression."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image

from ivif.contracts.batch import Detections, Targets
from ivif.image_ops.constants import constant
from ivif.image_ops.resize import resize

GREY = 114 / 255
"""What YOLO pads with."""

MOST_CANDIDATES: Final = 30_000
"""Of an image, the surest of which suppression looks at."""


class Letterbox(NamedTuple):
    """How an image was fitted into a network's input: resized by (`scale_y`, `scale_x`), then shifted.

    Attributes:
        scale_x: Network's pixels per image pixel.
        scale_y: The same, vertically; the two differ by rounding.
        left: Columns of padding before the image.
        top: Rows of padding above it.
        height: Of the image.
        width: Of the image.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    height: int
    width: int

    def to_network(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) xyxy of the image in the network's pixels."""
        return boxes * self._scale(boxes) + self._shift(boxes)

    def to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) xyxy of the network in the image's pixels, cut at its borders."""
        boxes = (boxes - self._shift(boxes)) / self._scale(boxes)
        clipped: Tensor = clip_boxes_to_image(boxes, (self.height, self.width))
        return clipped

    def _scale(self, boxes: Tensor) -> Tensor:
        return constant((self.scale_x, self.scale_y) * 2, boxes.dtype, boxes.device)

    def _shift(self, boxes: Tensor) -> Tensor:
        return constant((self.left, self.top) * 2, boxes.dtype, boxes.device)


def letterbox(images: Tensor, size: int | None, stride: int) -> tuple[Tensor, Letterbox]:
    """Fits images into a network's input with their proportions kept, the rest grey.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size: Length of the longer side afterwards; `None` keeps the size.
        stride: The result's sides are the least multiples of it that hold the image.

    Returns:
        The input (B, 3, H', W'), differentiable with respect to the images, and how boxes follow.
    """
    height, width = images.shape[-2:]
    scale = 1.0 if size is None else size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        images = resize(images, (new_height, new_width), "bilinear", antialias=scale < 1)
    below, right = -new_height % stride, -new_width % stride
    top, left = below // 2, right // 2
    if below or right:
        images = F.pad(images, (left, right - left, top, below - top), value=GREY)
    return images, Letterbox(new_width / width, new_height / height, left, top, height, width)


def relative_boxes(targets: Sequence[Targets], box: Letterbox, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The targets of a batch as YOLO's loss takes them.

    Args:
        targets: The objects of each image.
        box: How the images were fitted.
        size: (height, width) of the network's input.

    Returns:
        Index of the image (N,), label (N, 1), and centre, width and height (N, 4) relative to the input's size.
    """
    owners = torch.cat([entry["labels"].new_full((len(entry["labels"]),), i) for i, entry in enumerate(targets)])
    labels = torch.cat([entry["labels"] for entry in targets])
    boxes = box.to_network(torch.cat([entry["boxes"] for entry in targets]).float())
    relative = box_convert(boxes, "xyxy", "cxcywh") / constant((size[1], size[0]) * 2, boxes.dtype, boxes.device)
    return owners.float(), labels.float()[:, None], relative


def suppress(boxes: Tensor, scores: Tensor, score_threshold: float, iou_threshold: float, limit: int) -> Detections:
    """Keeps the best of overlapping boxes of one class. A box may stay under several classes.

    ultralytics' own suppression gives up after two seconds, silently; this one does not.

    Args:
        boxes: (A, 4) xyxy.
        scores: (A, classes) in [0, 1].
        score_threshold: Least score.
        iou_threshold: Overlap above which the lower-scored box goes.
        limit: Most detections that stay.
    """
    where, labels = (scores > score_threshold).nonzero(as_tuple=True)
    chosen, own = boxes[where], scores[where, labels]
    best = own.argsort(descending=True)[:MOST_CANDIDATES]
    chosen, own, labels = chosen[best], own[best], labels[best]
    kept = batched_nms(chosen, own, labels, iou_threshold)[:limit]
    return {"boxes": chosen[kept], "scores": own[kept], "labels": labels[kept]}
