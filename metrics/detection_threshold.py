"""Which detections are right, and the score at which a detector is best used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_area, box_iou

MATCHING_IOU: Final = 0.5
"""Overlap (intersection over union) from which a detection counts as right."""


@dataclass(frozen=True)
class Matches:
    """The detections of one image, and which of them are right.

    Args:
        scores: (N,) float32.
        labels: (N,) int64.
        right: (N,) bool.
        objects: (M,) int64, the labels of the objects.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    objects: NDArray[np.int64]


@dataclass(frozen=True)
class AtThreshold:
    """Precision and recall of the detections with at least a given score.

    Args:
        threshold: The score.
        precision: Share of right ones among those detections, in [0, 1].
        recall: Share of objects that they find, in [0, 1].
    """

    threshold: float
    precision: float
    recall: float


UNDEFINED: Final = AtThreshold(float("nan"), float("nan"), float("nan"))
"""Where there are no objects."""


def match(boxes: Tensor, scores: Tensor, labels: Tensor, object_boxes: Tensor, object_labels: Tensor) -> Matches:
    """Matches detections to objects of their class, greedily by falling score, as COCO does.

    Each detection takes the free object that it overlaps most, if by at least `MATCHING_IOU`. A detection's match does
    not depend on detections with lower scores, so one matching serves every threshold.

    Args:
        boxes: (N, 4) xyxy pixels.
        scores: (N,).
        labels: (N,) integers.
        object_boxes: (M, 4) xyxy pixels.
        object_labels: (M,) integers.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
        >>> match(boxes, torch.tensor([0.6, 0.9]), torch.tensor([0, 0]), boxes[:1], torch.tensor([0])).right.tolist()
        [False, True]
    """
    overlap = (box_iou(boxes, object_boxes) * (labels[:, None] == object_labels)).numpy()
    right = np.zeros(len(scores), dtype=np.bool_)
    candidates = np.flatnonzero((overlap >= MATCHING_IOU).any(axis=1))
    values = scores.numpy()
    for index in candidates[np.argsort(-values[candidates], kind="stable")]:
        best = overlap[index].argmax()
        if overlap[index, best] >= MATCHING_IOU:
            right[index] = True
            overlap[:, best] = 0.0
    return Matches(values, labels.numpy(), right, object_labels.numpy())


def leave_out(matches: Matches, boxes: Tensor, region_boxes: Tensor, region_labels: Tensor) -> Matches:
    """The matches without the detections that are neither right nor wrong, as COCO treats crowds.

    Those are detections of no object, at least half of which (`MATCHING_IOU`) lies in an ignored region of their class.

    Args:
        matches: Of the image's objects.
        boxes: (N, 4) xyxy pixels of the detections.
        region_boxes: (M, 4) xyxy pixels.
        region_labels: (M,) integers.
    """
    begin = torch.maximum(boxes[:, None, :2], region_boxes[:, :2])
    end = torch.minimum(boxes[:, None, 2:], region_boxes[:, 2:])
    shared = (end - begin).clamp(min=0).prod(dim=2)
    covered = ((shared > 0) & (shared >= MATCHING_IOU * box_area(boxes)[:, None])).numpy()
    kept = matches.right | ~(covered & (matches.labels[:, None] == region_labels.numpy())).any(axis=1)
    return Matches(matches.scores[kept], matches.labels[kept], matches.right[kept], matches.objects)


def best_threshold(images: Sequence[Matches]) -> AtThreshold:
    """The score threshold with the best F1 over all classes together, and precision and recall there.

    Args:
        images: One entry per image.

    Returns:
        `UNDEFINED` without objects; precision and recall 0 at threshold 1 without a right detection.
    """
    objects = sum(len(image.objects) for image in images)
    if not objects:
        return UNDEFINED
    scores = np.concatenate([image.scores for image in images])
    right = np.concatenate([image.right for image in images])
    if not right.any():
        return AtThreshold(1.0, 0.0, 0.0)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], right[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # no threshold separates detections of equal score
    best = int(f1.argmax())
    return AtThreshold(float(scores[best]), float(hits[best] / (best + 1)), float(hits[best] / objects))


def class_at_threshold(images: Sequence[Matches], label: int, threshold: float) -> AtThreshold:
    """Precision and recall of one class at a threshold; NaN where there is no such detection, or no such object."""
    objects = sum(int((image.objects == label).sum()) for image in images)
    shown = [(image.labels == label) & (image.scores >= np.float32(threshold)) for image in images]
    found = sum(int(kept.sum()) for kept in shown)
    right = sum(int(image.right[kept].sum()) for image, kept in zip(images, shown, strict=True))
    return AtThreshold(
        threshold, right / found if found else float("nan"), right / objects if objects else float("nan")
    )
