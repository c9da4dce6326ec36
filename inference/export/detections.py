"""Whether an exported file finds in pictures what the detector of its task does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from ivif.contracts.batch import Detections
from ivif.inference.export.comparison import SIZES, Outputs, Size, onnx_outputs, pair_of_bytes
from ivif.inference.export.graph import THRESHOLD, ByteFusion, detector_part, levels
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detector_training import DetectorPart
from ivif.models.detection.base import Candidates, DetectorConfig, ListedDetections
from ivif.models.detection.postprocess import MOST_CANDIDATES

PIXELS: Final = 0.5
"""By which a box may differ: the last bits of a picture move it."""

SHARE: Final = 0.02
"""Of a score by which it may differ."""

OVERLAP: Final = 0.01
"""By which an overlap may be misjudged."""

_EQUAL: Final = 1e-3
"""Parts of what is allowed within which two candidates fit a detection equally."""

_CHOSEN: Final = 2000
"""Candidates of a picture, about, that a comparison is to have."""

_BELOW: Final = 0.9
"""Of the score that so many reach: those of an untrained detector are nearly equal."""


class Compared(NamedTuple):
    """How near a file with a detector is to its task.

    Attributes:
        difference: The most levels of 255 by which a pixel differs.
        size: Batch, height and width at which.
        detections: How many were compared.
        wrong: What is wrong with the detections; "" if nothing is.
    """

    difference: int
    size: Size
    detections: int
    wrong: str


def compare(exported: Outputs, plain: ByteFusion, sizes: Sequence[Size] = SIZES) -> Compared:
    """Compares the pictures of a file, and what it finds in them, with those of its task.

    Args:
        exported: The file's function of two pictures.
        plain: The task's, which has a detector.
        sizes: Of the pictures.
    """
    detector = _part(plain.task).evaluated
    most, detections, wrong = (0, sizes[0]), 0, ""
    for index, size in enumerate(sizes):
        pair = pair_of_bytes(size, index)
        fused, *lists = exported(*pair)
        listed = ListedDetections(*lists)
        with torch.no_grad():
            expected = plain.task.picture(plain.batch(*pair))["fused"]
        most = max(most, (int((fused.int() - levels(expected).int()).abs().max()), size))
        found = check_listed(listed, detector.candidates(expected.float()), detector.config, size[1:])
        wrong = wrong or (found and f"in a picture of {size[2]}x{size[1]} pixels {found}")
        detections += len(listed.boxes)
    return Compared(*most, detections, wrong)


def low_threshold(plain: ByteFusion) -> float:
    """A score that many candidates reach, also of a detector that is sure of nothing here; at most the configured one.

    Args:
        plain: A task with a detector.
    """
    detector = _part(plain.task).evaluated
    with torch.no_grad():
        fused = plain.task.picture(plain.batch(*pair_of_bytes(SIZES[-1], len(SIZES) - 1)))["fused"]
    scores = detector.candidates(fused.float()).scores.flatten()
    least = scores.topk(min(_CHOSEN, len(scores))).values[-1].item()
    return min(detector.config.score_threshold, least * _BELOW)


class DetectingFile:
    """A file whose least score can be set.

    Args:
        path: ONNX, or a program of torch.
        notes: What a program says of itself, which it forgets where it is read.
    """

    def __init__(self, path: Path, notes: dict[str, str]) -> None:
        self.path = path
        self.notes = notes
        self._program: Any = None

    def outputs(self) -> Outputs:
        """Its function of two pictures, as it lies there."""
        if self.path.suffix == ".onnx":
            return onnx_outputs(self.path)
        self._program = torch.export.load(self.path)
        module = self._program.module()
        return lambda *inputs: tuple(module(*inputs))

    def set_threshold(self, value: float) -> None:
        """Gives it another least score, after `outputs`: a program takes long to read."""
        if self._program is not None:
            self._program.state_dict[THRESHOLD].fill_(value)
            torch.export.save(self._program, self.path, extra_files=dict(self.notes))
            return
        import onnx

        model: Any = onnx.load(self.path)
        (stored,) = (entry for entry in model.graph.initializer if entry.name == THRESHOLD)
        stored.CopyFrom(onnx.numpy_helper.from_array(np.array(value, dtype=np.float32), THRESHOLD))
        onnx.save(model, self.path)


def check_listed(
    listed: ListedDetections, candidates: Candidates, config: DetectorConfig, size: tuple[int, int]
) -> str:
    """What is wrong with a file's detections of a batch; "" if nothing is.

    They need not be the task's own: which of two boxes stays may hang on the last bit of a score. They are right if
    each is a candidate of the task's detector, none overlaps a surer one of its class, and every other candidate does,
    or comes after the most that a picture may have. No other list than that of suppression has all three properties.

    Args:
        listed: Of the file.
        candidates: Of the task's detector.
        config: The thresholds.
        size: (height, width) of the pictures.
    """
    height, width = size
    inside = listed.boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    if not torch.equal(inside, listed.boxes):
        return "a box lies beyond the picture"
    if (listed.pictures.diff() < 0).any() or (listed.pictures >= len(candidates.boxes)).any():
        return "pictures are out of order"
    for index, (boxes, scores) in enumerate(zip(candidates.boxes, candidates.scores, strict=True)):
        chosen = listed.pictures == index
        own = Detections(boxes=listed.boxes[chosen], scores=listed.scores[chosen], labels=listed.labels[chosen])
        pixels = candidates.to_image(boxes)
        if wrong := _formal_error(own, scores.shape[1], config) or _wrong_choice(own, boxes, pixels, scores, config):
            return wrong
    return ""


def _part(task: FusionTask) -> DetectorPart:
    part = detector_part(task)
    if part is None:
        raise ValueError(f"{type(task).__name__} has no detector.")
    return part


def _formal_error(own: Detections, classes: int, config: DetectorConfig) -> str:
    """What can be seen without the task."""
    if len(own["scores"]) > config.max_detections:
        return f"there are more than {config.max_detections} boxes"
    if ((own["labels"] < 0) | (own["labels"] >= classes)).any():
        return "there is no such class"
    if (own["scores"].diff() > 0).any():
        return "the surest are not the first"
    return "a score is below the threshold" if (own["scores"] <= config.score_threshold).any() else ""


def _wrong_choice(own: Detections, boxes: Tensor, pixels: Tensor, scores: Tensor, config: DetectorConfig) -> str:
    """What is wrong with the detections of a picture among its candidates, whose boxes are `pixels` in the picture."""
    found, sure, labels = own["boxes"], own["scores"][:, None], own["labels"]
    differs = torch.maximum(
        (found[:, None] - pixels).abs().amax(dim=2) / PIXELS, (scores.T[labels] - sure).abs() / (SHARE * sure)
    )
    if (differs > 1).all(dim=1).any():
        return "a box, its score or its class differs"
    # Boxes that the border has made equal: any of them may be the one.
    same = differs <= differs.amin(dim=1, keepdim=True) + _EQUAL
    met = same.any(dim=0)
    table = box_iou(boxes[met], boxes)
    overlaps = [table[mine] for mine in same[:, met]]
    least = [entry.amin(dim=0) for entry in overlaps]
    for index, mine in enumerate(same):
        other = [least[before][mine].amin() for before in range(index) if labels[before] == labels[index]]
        if other and max(other) > config.iou_threshold + OVERLAP:
            return "two boxes of a class overlap"
    return _missing(own, same, [entry.amax(dim=0) for entry in overlaps], scores, config)


def _missing(own: Detections, same: Tensor, most: Sequence[Tensor], scores: Tensor, config: DetectorConfig) -> str:
    """Whether a candidate lacks that no surer box of its class overlaps; `most` (A,) is each box's overlap with all."""
    full = len(own["scores"]) == config.max_detections
    least = max(config.score_threshold, _last_candidate(scores), own["scores"].min().item() if full else 0.0)
    for label in range(scores.shape[1]):
        free = scores[:, label] > least * (1 + SHARE)
        for index in (own["labels"] == label).nonzero()[:, 0].tolist():
            below = scores[:, label] * (1 - SHARE) <= own["scores"][index]
            overlapped = most[index] > config.iou_threshold - OVERLAP
            free &= ~(same[index] | (below & overlapped))
        if free.any():
            return "a box is missing"
    return ""


def _last_candidate(scores: Tensor) -> float:
    """The score of the last candidate that suppression looks at."""
    flat = scores.flatten()
    return flat.topk(MOST_CANDIDATES).values[-1].item() if len(flat) > MOST_CANDIDATES else 0.0
