"""What every detector gives, whoever wrote its network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ivif.contracts.batch import Detections, Targets
from ivif.machine.process_group import divisor, total_count


@dataclass(frozen=True)
class CountedLoss:
    """A training loss that is a quotient, so that those of several batches can be joined.

    Args:
        terms: Weighted numerators by name, scalars.
        count: What they are divided by, or by 1 if it is less: assigned targets or their scores, a scalar.
    """

    terms: dict[str, Tensor]
    count: Tensor


class Candidates(NamedTuple):
    """What a detector chooses its detections from, before thresholds and suppression.

    Attributes:
        boxes: (B, A, 4) xyxy, in the network's pixels.
        scores: (B, A, classes) in [0, 1].
        to_image: Brings boxes (N, 4) into the picture's pixels, cut at its borders.
    """

    boxes: Tensor
    scores: Tensor
    to_image: Callable[[Tensor], Tensor]


class ListedDetections(NamedTuple):
    """What is in the pictures of a batch, as one list that an exported file can give.

    Attributes:
        boxes: (D, 4) xyxy, in the pixels of the picture.
        scores: (D,).
        labels: (D,) int64.
        pictures: (D,) int64, ascending: which picture of the batch; of each, the surest come first.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    pictures: Tensor


class DetectorWeightsError(ValueError):
    """A weights file is missing, damaged, or of another network; says which and what would fit."""


@dataclass(frozen=True)
class DetectorConfig:
    """Which detector, and how it looks at an image.

    Args:
        architecture: `yolov5n`, `yolov5s`, `yolov5m`, `yolov5l`, `yolov5x` (ultralytics' anchor-free YOLOv5u,
            AGPL-3.0), or torchvision's `fcos_resnet50` or `ssdlite320` (BSD).
        weights: File to start from: `yolov5*u.pt`, or a state dict as `.safetensors` or `.pt`. `None` starts untrained.
        image_size: Longer side in pixels that images are letterboxed to; `None` keeps their size and pads to the
            stride. `ssdlite320` always squashes to 320x320.
        score_threshold: Least score of a detection; low, because mAP integrates over all scores.
        iou_threshold: Overlap above which non-maximum suppression drops the lower-scored box of the same class.
        max_detections: Most detections of an image.
        reuse_classes: Start a class of the same name (person, car, ...) from the head of the weights file.
        box_gain: Weight of YOLO's box loss.
        class_gain: Weight of YOLO's classification loss.
        dfl_gain: Weight of YOLO's distribution focal loss.

    Raises:
        ValueError: If a number is out of range.
    """

    architecture: str = "yolov5n"
    weights: str | Path | None = None
    image_size: int | None = 640
    score_threshold: float = 0.001
    iou_threshold: float = 0.6
    max_detections: int = 300
    reuse_classes: bool = True
    box_gain: float = 7.5
    class_gain: float = 0.5
    dfl_gain: float = 1.5

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 32:
            raise ValueError(f"detector.image_size is {self.image_size}; it must be at least 32 pixels, or null.")
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"detector.{name} is {getattr(self, name)}; it must lie in [0, 1].")
        if self.max_detections < 1:
            raise ValueError(f"detector.max_detections is {self.max_detections}; it must be at least 1.")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; then every submodule gets back the mode that it had, which may be its own."""
    modes = [(entry, entry.training) for entry in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for entry, mode in modes:
            entry.training = mode


@contextmanager
def configured(detector: "Detector", **changes: Any) -> Iterator[None]:
    """Other settings for a while: fields of a detector's configuration, by name."""
    before = detector.config
    detector.config = replace(before, **changes)
    try:
        yield
    finally:
        detector.config = before


class Detector(nn.Module, ABC):
    """Boxes and classes of what is in an image; differentiable with respect to the image.

    Args:
        class_names: Name of each label, in order.
        stride: Multiple of pixels that the network needs.

    Attributes:
        config: How it looks at an image; read at every call.
    """

    config: DetectorConfig
    can_be_traced: ClassVar[bool] = False
    """Whether there are `listed` and `candidates`, so that a file can be exported and compared."""

    offset: int = 0
    """How many rows of the head come before the first class (a background)."""

    def __init__(self, class_names: Sequence[str], stride: int) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.stride = stride

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    def fit_head(self, state: Mapping[str, Tensor]) -> None:
        """Gives the head the inner sizes that it has in a state, so that this fits; what changes is untrained then.

        Args:
            state: A state dict of such a detector, of any classes; what it lacks stays as it is.
        """

    @abstractmethod
    def counted_loss(self, images: Tensor, targets: Sequence[Targets]) -> CountedLoss:
        """The training loss as numerators and what they are divided by.

        In evaluation mode too, where BatchNorm neither uses nor changes a batch's statistics.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size.
            targets: The objects of each image, in its pixels.
        """

    def loss(self, images: Tensor, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """The training loss by named terms, weighted, whose sum does not depend on the batch's size.

        With several processes its mean over them is the loss of their joined batches.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size.
            targets: The objects of each image, in its pixels.
        """
        found = self.counted_loss(images, targets)
        by = divisor(total_count(found.count))
        return {name: term / by for name, term in found.terms.items()}

    @abstractmethod
    def predict(self, images: Tensor) -> list[Detections]:
        """What is in each image, in the image's own pixels.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size.
        """

    def listed(self, images: Tensor, score_threshold: Tensor) -> ListedDetections:
        """What `predict` finds, in a form that torch traces for any batch, height and width.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size.
            score_threshold: Stands for the configuration's, a scalar.

        Raises:
            NotImplementedError: If there is no such form, see `can_be_traced`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be traced.")

    def candidates(self, images: Tensor) -> Candidates:
        """What `predict` chooses from.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], any size.

        Raises:
            NotImplementedError: As `listed`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not tell its candidates.")
