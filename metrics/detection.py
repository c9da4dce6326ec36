"""Detection scores over any number of batches, datasets and processes: COCO's mAP, precision and recall, counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import box_iou

OPERATING_IOU: Final = 0.5
"""Overlap at which `precision` and `recall` count a detection as right."""

Boxes = Mapping[str, Tensor]
"""`boxes`, `labels`, and for detections `scores`."""


@dataclass(frozen=True)
class DetectionScores:
    """Scores of one group of images.

    Args:
        map50: Mean over classes of the average precision at IoU .5, in [0, 1]; NaN where no class has objects.
        map50_95: The same, averaged over IoU .5 to .95 (COCO's AP).
        precision: Share of right ones among detections at the score threshold with the best F1, all classes together.
        recall: Share of objects found there.
        threshold: That score threshold.
        classes: Class -> `AP50`, `AP50_95`, `objects`, `detections`; AP is NaN for a class without objects.
        images: Number of images.
    """

    map50: float
    map50_95: float
    precision: float
    recall: float
    threshold: float
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    images: int = 0

    def named(self) -> dict[str, float]:
        """What logs and tables show, by name."""
        overall = {
            "mAP50": self.map50,
            "mAP50_95": self.map50_95,
            "precision": self.precision,
            "recall": self.recall,
        }
        return overall | {f"AP50/{name}": values["AP50"] for name, values in self.classes.items()}


class DetectionMetrics:
    """Gathers detections and objects by image; an image that several processes saw counts once.

    Average precision is COCO's (101 recall points, at most 100 detections an image), computed by faster-coco-eval
    through torchmetrics. Classes without objects are left out of the means.

    Args:
        class_names: Name of each label, in order.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._images: dict[tuple[str, str], tuple[Boxes, Boxes]] = {}

    def update(
        self, detections: Sequence[Boxes], targets: Sequence[Boxes], datasets: Sequence[str], names: Sequence[str]
    ) -> None:
        """Adds a batch.

        Args:
            detections: `boxes` (N, 4) xyxy, `scores` (N,), `labels` (N,) of each image.
            targets: `boxes` (M, 4) and `labels` (M,) of each image.
            datasets: Dataset of each image.
            names: Name of each image, unique within its dataset.

        Raises:
            ValueError: If the numbers of entries differ, or a label is beyond the class names.
        """
        if not len(detections) == len(targets) == len(datasets) == len(names):
            raise ValueError(
                f"Got {len(detections)} detections, {len(targets)} targets, {len(datasets)} datasets and {len(names)} "
                f"names; one of each per image is needed."
            )
        for found, wanted, dataset, name in zip(detections, targets, datasets, names, strict=True):
            labels = torch.cat([found["labels"], wanted["labels"]])
            if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.class_names):
                raise ValueError(
                    f"{dataset}/{name} has a label outside of the {len(self.class_names)} classes "
                    f"({', '.join(self.class_names)}): {sorted(set(labels.tolist()))}."
                )
            self._images[dataset, name] = _on_cpu(found), _on_cpu(wanted)

    @property
    def empty(self) -> bool:
        """Whether this process has seen no image."""
        return not self._images

    def compute(self) -> dict[str, DetectionScores]:
        """Scores per dataset; under DDP all processes must call this, and all get the same."""
        everything = _gathered(self._images)
        datasets = sorted({dataset for dataset, _ in everything})
        return {
            name: self._scores([v for (own, _), v in sorted(everything.items()) if own == name]) for name in datasets
        }

    def compute_overall(self) -> DetectionScores:
        """Scores of all images together; under DDP all processes must call this."""
        return self._scores([value for _, value in sorted(_gathered(self._images).items())])

    def _scores(self, images: Sequence[tuple[Boxes, Boxes]]) -> DetectionScores:
        metric = MeanAveragePrecision(
            backend="faster_coco_eval", class_metrics=True, extended_summary=False, sync_on_compute=False
        )
        metric.warn_on_many_detections = False
        per_class50: dict[int, float] = {}
        per_class: dict[int, float] = {}
        if images:
            metric.update([dict(found) for found, _ in images], [dict(wanted) for _, wanted in images])
            per_class = _by_class(metric.compute())
            at50 = MeanAveragePrecision(
                backend="faster_coco_eval", class_metrics=True, iou_thresholds=[0.5], sync_on_compute=False
            )
            at50.warn_on_many_detections = False
            at50.update([dict(found) for found, _ in images], [dict(wanted) for _, wanted in images])
            per_class50 = _by_class(at50.compute())
        precision, recall, threshold = operating_point(images)
        classes = {
            name: {
                "AP50": per_class50.get(label, float("nan")),
                "AP50_95": per_class.get(label, float("nan")),
                "objects": float(sum(int((wanted["labels"] == label).sum()) for _, wanted in images)),
                "detections": float(sum(int((found["labels"] == label).sum()) for found, _ in images)),
            }
            for label, name in enumerate(self.class_names)
        }
        present = [values for values in classes.values() if values["objects"]]
        return DetectionScores(
            _mean(values["AP50"] for values in present),
            _mean(values["AP50_95"] for values in present),
            precision,
            recall,
            threshold,
            classes,
            len(images),
        )


def operating_point(images: Sequence[tuple[Boxes, Boxes]]) -> tuple[float, float, float]:
    """Precision, recall and score threshold where their F1 is best, all classes together, at IoU .5.

    Detections are matched to objects of their class greedily, by falling score, as COCO does.

    Args:
        images: (detections, objects) of each image.

    Returns:
        NaN, NaN, NaN without objects; 0, 0 and 1 without a right detection.
    """
    objects = sum(len(wanted["labels"]) for _, wanted in images)
    if not objects:
        return float("nan"), float("nan"), float("nan")
    pairs = [(found["scores"], _right(found, wanted)) for found, wanted in images]
    scores, right = torch.cat([score for score, _ in pairs]), torch.cat([hit for _, hit in pairs])
    if not right.any():
        return 0.0, 0.0, 1.0
    order = scores.argsort(descending=True, stable=True)
    hits = right[order].double().cumsum(0)
    precision, recall = hits / torch.arange(1, len(hits) + 1), hits / objects
    best = int((2 * precision * recall / (precision + recall).clamp_min(1e-12)).argmax())
    return precision[best].item(), recall[best].item(), scores[order][best].item()


def _right(found: Boxes, wanted: Boxes) -> Tensor:
    """Whether each detection (N,) is the first to find its object."""
    overlap = box_iou(found["boxes"], wanted["boxes"])
    overlap = overlap * (found["labels"][:, None] == wanted["labels"][None])
    right = torch.zeros(len(found["scores"]), dtype=torch.bool)
    if not overlap.numel():
        return right
    free = torch.ones(len(wanted["labels"]), dtype=torch.bool)
    for index in found["scores"].argsort(descending=True, stable=True).tolist():
        best, position = (overlap[index] * free).max(dim=0)
        if best >= OPERATING_IOU:
            right[index], free[position] = True, False
    return right


def _by_class(result: Mapping[str, Tensor]) -> dict[int, float]:
    """Label -> AP; a single class comes as a scalar, an absent one as -1."""
    labels, values = result["classes"].reshape(-1).tolist(), result["map_per_class"].reshape(-1).tolist()
    return {int(label): value for label, value in zip(labels, values, strict=True) if value >= 0}


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]  # NaN is not equal to itself
    return sum(known) / len(known) if known else float("nan")


def _on_cpu(boxes: Boxes) -> Boxes:
    return {key: value.detach().cpu() for key, value in boxes.items() if key in ("boxes", "scores", "labels")}


def _gathered(images: dict[tuple[str, str], tuple[Boxes, Boxes]]) -> dict[tuple[str, str], tuple[Boxes, Boxes]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return images
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, images)
    return {key: value for share in shares for key, value in share.items()}
