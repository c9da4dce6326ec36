"""Detection scores over any number of batches, datasets and processes: COCO's mAP, precision and recall, counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor

from ivif.contracts.batch import Detections, Targets, empty_targets
from ivif.machine.process_group import gather_objects
from ivif.metrics.detection_threshold import Matches, best_threshold, class_at_threshold, leave_out, match

DETECTIONS_PER_CLASS: Final = 100
"""COCO looks at this many detections of a class in an image, those of the highest scores."""

Image = tuple[Detections, Targets]
"""What was found in an image, and what is there."""


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; a share is NaN where it is undefined.

    Args:
        ap50: Average precision at IoU .5, in [0, 1]; NaN without objects.
        ap50_95: The same, averaged over IoU .5, .55, ... .95.
        precision: Share of right ones among its detections at the group's score threshold.
        recall: Share of its objects found there.
        objects: How many there are.
        detections: How many there are, of any score, beside those in ignored regions.
    """

    ap50: float
    ap50_95: float
    precision: float
    recall: float
    objects: int
    detections: int


@dataclass(frozen=True)
class DetectionScores:
    """Scores of one group of images.

    Args:
        map50: Mean over the classes with objects of the average precision at IoU .5, in [0, 1]; NaN without objects.
        map50_95: The same, averaged over IoU .5 to .95 (COCO's AP).
        precision: Share of right ones (IoU .5) among the detections of at least `threshold`, all classes together.
        recall: Share of objects found by them.
        threshold: The score at which the F1 of precision and recall is best.
        images: Number of images.
        classes: Scores of each class, by name.
    """

    map50: float
    map50_95: float
    precision: float
    recall: float
    threshold: float
    images: int
    classes: dict[str, ClassScores]

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without objects, which the means leave out."""
        return tuple(name for name, scores in self.classes.items() if not scores.objects)

    @property
    def objects(self) -> int:
        """Number of objects."""
        return sum(scores.objects for scores in self.classes.values())

    @property
    def detections(self) -> int:
        """Number of detections, of any score."""
        return sum(scores.detections for scores in self.classes.values())

    def named(self) -> dict[str, float]:
        """What logs show, by name: `mAP50`, `mAP50_95`, `precision`, ..., `AP50/<class>`, `AP50_95/<class>`."""
        values = {
            "mAP50": self.map50,
            "mAP50_95": self.map50_95,
            "precision": self.precision,
            "recall": self.recall,
            "score_threshold": self.threshold,
        }
        present = {name: scores for name, scores in self.classes.items() if scores.objects}
        values |= {f"AP50/{name}": scores.ap50 for name, scores in present.items()}
        return values | {f"AP50_95/{name}": scores.ap50_95 for name, scores in present.items()}


@dataclass(frozen=True)
class DetectionReport:
    """Scores of all images together and of each dataset.

    Args:
        overall: Of all images, as if they were one dataset.
        datasets: By dataset, in the order of their names.
        images: What was found and what is there, by dataset and name of the picture.
    """

    overall: DetectionScores
    datasets: dict[str, DetectionScores]
    images: dict[tuple[str, str], Image]


class DetectionMetrics:
    """Gathers detections and objects by image; an image that several processes saw, or that comes again, counts once.

    Average precision is COCO's: 101 recall points, at most `DETECTIONS_PER_CLASS` detections of a class in an image,
    computed by faster-coco-eval through torchmetrics; ignored regions are its crowds. Precision and recall are those at
    the score threshold that is best for their F1 at IoU .5, all classes together, without detections in such regions.

    Args:
        class_names: Name of each label, in order.

    Example:
        >>> metrics = DetectionMetrics(["person", "car"])
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([1])
        >>> found: Detections = {"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels}
        >>> metrics.update([found], [{"boxes": boxes, "labels": labels}], ["made"], ["0001"])
        >>> {name: round(value, 3) for name, value in metrics.compute().items() if "AP50" in name}
        {'mAP50': 1.0, 'mAP50_95': 1.0, 'AP50/car': 1.0, 'AP50_95/car': 1.0}
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._images: dict[tuple[str, str], Image] = {}

    def update(
        self,
        detections: Sequence[Detections],
        targets: Sequence[Targets],
        datasets: Sequence[str],
        names: Sequence[str],
    ) -> None:
        """Adds a batch.

        Args:
            detections: What was found in each image.
            targets: What is there.
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
            self._check(found, wanted, f"{dataset}/{name}")
            kept: Detections = {
                "boxes": _kept(found["boxes"], torch.float32),
                "scores": _kept(found["scores"], torch.float32),
                "labels": _kept(found["labels"], torch.int64),
            }
            self._images.setdefault((dataset, name), (kept, _kept_targets(wanted)))

    def _check(self, found: Detections, wanted: Targets, where: str) -> None:
        counts = {len(found["boxes"]), len(found["scores"]), len(found["labels"])}
        if len(counts) > 1 or len(wanted["boxes"]) != len(wanted["labels"]):
            raise ValueError(f"{where} has other numbers of boxes than of scores or labels; one of each is needed.")
        regions = wanted.get("ignored", wanted)["labels"]
        for kind, labels in (("Detections", found["labels"]), ("Targets", wanted["labels"]), ("Targets", regions)):
            strange = labels[(labels < 0) | (labels >= len(self.class_names))]
            if strange.numel():
                raise ValueError(
                    f"{kind} of {where} have the labels {sorted(set(strange.tolist()))}, but there are "
                    f"{len(self.class_names)} classes ({', '.join(self.class_names)}). Give the classes of this data."
                )

    def compute(self) -> dict[str, float]:
        """Scores of all images together, by name; see `DetectionScores.named`."""
        return self.report().overall.named()

    def report(self) -> DetectionReport:
        """All scores; with several processes all of them must call this, and all get the same."""
        shares = reversed(gather_objects(self._images))
        images = dict(sorted({key: image for share in shares for key, image in share.items()}.items()))
        matches = _all_matches(images)
        datasets = {}
        for dataset in dict.fromkeys(dataset for dataset, _ in images):
            keys = [key for key in images if key[0] == dataset]
            datasets[dataset] = self._scores([images[key] for key in keys], [matches[key] for key in keys])
        if len(datasets) == 1:
            return DetectionReport(next(iter(datasets.values())), datasets, images)
        overall = self._scores(list(images.values()), list(matches.values()))
        return DetectionReport(overall, datasets, images)

    def matches(self) -> dict[tuple[str, str], Matches]:
        """Which of the detections of each image of this process are right, by dataset and name."""
        return _all_matches(dict(sorted(self._images.items())))

    def _scores(self, images: Sequence[Image], matches: Sequence[Matches]) -> DetectionScores:
        precisions = _average_precisions(images)
        best = best_threshold(matches)
        classes = {}
        for label, name in enumerate(self.class_names):
            ap50, ap50_95 = precisions.get(label, (float("nan"), float("nan")))
            alone = class_at_threshold(matches, label, best.threshold)
            classes[name] = ClassScores(
                ap50,
                ap50_95,
                alone.precision,
                alone.recall,
                sum(int((image.objects == label).sum()) for image in matches),
                sum(int((image.labels == label).sum()) for image in matches),
            )
        return DetectionScores(
            _mean(scores.ap50 for scores in classes.values() if scores.objects),
            _mean(scores.ap50_95 for scores in classes.values() if scores.objects),
            best.precision,
            best.recall,
            best.threshold,
            len(images),
            classes,
        )


def _average_precisions(images: Sequence[Image]) -> dict[int, tuple[float, float]]:
    """Label -> average precision at IoU .5 and over .5 to .95, for every label that has objects.

    Read off the table of precisions by overlap, recall and class: `class_metrics` would evaluate each class anew.
    """
    if not any(len(wanted["labels"]) for _, wanted in images):
        return {}
    from torchmetrics.detection import MeanAveragePrecision  # two seconds, which a run without boxes spares

    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        extended_summary=True,
        max_detection_thresholds=[1, 10, DETECTIONS_PER_CLASS],
        sync_on_compute=False,
    )
    metric.warn_on_many_detections = False
    plain = cast("list[tuple[dict[str, Tensor], dict[str, Tensor]]]", images)
    metric.update([found for found, _ in plain], [_with_crowds(wanted) for _, wanted in images])
    result = metric.compute()
    table = result["precision"][:, :, :, 0, -1].double()  # overlap, recall, class; all areas, most detections
    labels = result["classes"].reshape(-1).tolist()
    return {
        int(label): (values[0].mean().item(), values.mean().item())
        for label, values in zip(labels, table.unbind(dim=2), strict=True)
        if values.min() >= 0  # -1 where the class has no objects
    }


def _with_crowds(wanted: Targets) -> dict[str, Tensor]:
    """The objects of an image, and behind them its ignored regions as COCO's crowds."""
    regions = wanted.get("ignored", empty_targets())
    return {
        "boxes": torch.cat([wanted["boxes"], regions["boxes"]]),
        "labels": torch.cat([wanted["labels"], regions["labels"]]),
        "iscrowd": torch.cat([torch.zeros_like(wanted["labels"]), torch.ones_like(regions["labels"])]),
    }


def _all_matches(images: Mapping[tuple[str, str], Image]) -> dict[tuple[str, str], Matches]:
    return {key: _matched(found, wanted) for key, (found, wanted) in images.items()}


def _matched(found: Detections, wanted: Targets) -> Matches:
    matches = match(found["boxes"], found["scores"], found["labels"], wanted["boxes"], wanted["labels"])
    if "ignored" not in wanted:
        return matches
    return leave_out(matches, found["boxes"], wanted["ignored"]["boxes"], wanted["ignored"]["labels"])


def _kept_targets(targets: Targets) -> Targets:
    boxes, labels = _kept(targets["boxes"], torch.float32), _kept(targets["labels"], torch.int64)
    kept: Targets = {"boxes": boxes, "labels": labels}
    return {**kept, "ignored": _kept_targets(targets["ignored"])} if "ignored" in targets else kept


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return float(np.mean(known)) if known else float("nan")


def _kept(values: Tensor, dtype: torch.dtype) -> Tensor:
    # a copy: a view would keep, and send to other processes, all that it is a view of
    return values.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
