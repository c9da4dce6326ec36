"""The detector as a part of a task: its losses, its running average, its answers in evaluation."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ivif.bilevel.level_loss import LevelLoss
from ivif.contracts.batch import Batch, Detections, Targets
from ivif.image_ops.precision import single_precision
from ivif.lightning_modules.detector_augmentation import DetectorAugmentation
from ivif.lightning_modules.fake_tensor_memory import Use
from ivif.lightning_modules.training_memory import Arithmetic, detector_use
from ivif.lightning_modules.weight_average import WeightAverage, check_average
from ivif.models.detection import Detector, DetectorConfig, build_detector
from ivif.models.detection.base import ListedDetections
from ivif.models.detection.weights import WeightsReport, start_from


@dataclass(frozen=True)
class DetectorTrainingConfig:
    """How a detector is trained, apart from its optimiser.

    Args:
        average_decay: Decay of the running average of the weights that evaluation uses, in [0, 1); 0 keeps none.
        average_ramp: Steps over which that decay grows: decay * (1 - exp(-steps / ramp)).
        freeze: Beginnings of the names of parameters that stay as they are, such as `model.model.0.`; their
            BatchNorm statistics stay too.
        freeze_batch_norm: Leave every BatchNorm's running statistics as they are, and use them in training too; for
            very small batches.
        augmentation: What is done to the pictures that it learns from.

    Raises:
        ValueError: If a number is out of range.
    """

    average_decay: float = 0.9999
    average_ramp: float = 2000.0
    freeze: tuple[str, ...] = ()
    freeze_batch_norm: bool = False
    augmentation: DetectorAugmentation = DetectorAugmentation()

    def __post_init__(self) -> None:
        check_average("training.average_", self.average_decay, self.average_ramp)


class DetectorPart(nn.Module):
    """A detector, the running average of its weights, and the checks between a batch and both.

    The task that owns it calls `update_average` after each optimiser step of the detector.

    Args:
        config: Which detector.
        class_names: Name of each label, in order.
        training: Averaging and frozen layers.

    Raises:
        ValueError: If there are no class names, or a name in `training.freeze` begins no parameter's.
    """

    def __init__(
        self, config: DetectorConfig, class_names: Sequence[str] | None, training: DetectorTrainingConfig
    ) -> None:
        super().__init__()
        if not class_names:
            raise ValueError(
                "A detector needs the names of its classes, and none are known: the data have no boxes, or they are "
                "switched off. Choose data with boxes, or give the task `classes`, as in ['person', 'car']."
            )
        self.class_names = tuple(class_names)
        self.detector: Detector = build_detector(config, self.class_names)
        self.average: WeightAverage | None = None
        if training.average_decay > 0:
            self.average = WeightAverage(self.detector, training.average_decay, training.average_ramp)
        self._still = _frozen_layers(self.detector, training)
        self._augmentation = training.augmentation
        self.train()  # Lightning leaves every module in the mode that it finds it in

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for the average and the frozen layers."""
        super().train(mode)
        for name in self._still:
            self.detector.get_submodule(name).eval()
        return self

    def loss(self, images: Tensor, batch: Batch) -> LevelLoss:
        """The sum of the detector's terms on augmented pictures of the batch's scenes, as a numerator with its count.

        Args:
            images: (B, 3, H, W) in [0, 1], RGB, on the pixel grid of the batch's boxes.
            batch: Gives the boxes; `collate` has refused labels beyond the class names.

        Raises:
            ValueError: If the batch has no boxes.
        """
        found = self.detector.counted_loss(*self._augmentation(images, self._targets(batch)))
        value = torch.stack(list(found.terms.values())).sum()
        return LevelLoss(value, found.count, {name: term.detach() for name, term in found.terms.items()})

    def terms(self, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The detector's terms by name, of the pictures as they are. Takes and refuses what `loss` does."""
        return self.detector.loss(images, self._targets(batch))

    @property
    def evaluated(self) -> Detector:
        """The averaged detector; the present one, where there is no average."""
        return self.detector if self.average is None else cast("Detector", self.average.module)

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[Detections]:
        """What the averaged detector (the present one, where there is no average) finds in each image.

        Computed in single precision whatever the run's precision, without TensorFloat-32: half of it moves boxes by
        whole pixels.

        Args:
            images: (B, 3, H, W) in [0, 1], RGB.
        """
        with single_precision(images.device):
            return self.evaluated.predict(images.float())

    def listed(self, images: Tensor, score_threshold: Tensor) -> ListedDetections:
        """What `detect` finds, for an exported file (see `Detector.listed`)."""
        return self.evaluated.listed(images.float(), score_threshold)

    def training_use(self, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What the loss and its gradient hold on frames of (pairs, height, width)."""

        def run(frames: Batch) -> Tensor:
            return self.loss(frames["visible"], frames).value

        return detector_use(self.detector, run, size, self._device, arithmetic, trains=True)

    def inference_use(self, size: tuple[int, int, int]) -> Use:
        """What finding objects holds on frames of (pairs, height, width)."""
        return detector_use(
            self.evaluated, lambda frames: self.detect(frames["visible"]), size, self._device, nullcontext, trains=False
        )

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def update_average(self) -> None:
        """Takes the detector's present weights into the average; after each optimiser step."""
        if self.average is not None:
            self.average.update_parameters(self.detector)

    def fit_heads(self, state: Mapping[str, Tensor]) -> None:
        """Gives the heads the inner sizes of a checkpoint's, which the weights that its run started from had decided.

        Args:
            state: The part's entries of a state dict, under its own names.
        """
        self.detector.fit_head(below("detector.", state))
        if self.average is not None:
            cast("Detector", self.average.module).fit_head(below("average.module.", state))

    def start_from(self, state: Mapping[str, Tensor], names: Sequence[str]) -> WeightsReport:
        """Takes the weights of another run's part, whatever its classes: all but the rows of those that it lacks.

        The average takes those of the average, but not its count: as slow as at the end of a run, it would keep the
        untrained rows for thousands of steps.

        Args:
            state: That part's entries of a state dict, under its own names.
            names: Its classes, in order.

        Raises:
            DetectorWeightsError: If it is of another network or holds what is not finite.
        """
        origin, reuse = "The checkpoint's detector weights", self.detector.config.reuse_classes
        report = start_from(self.detector, below("detector.", state), names, origin, reuse)
        if self.average is not None:
            average = cast("Detector", self.average.module)
            average.fit_head(self.detector.state_dict())
            average.load_state_dict(self.detector.state_dict())
            if averaged := below("average.module.", state):
                start_from(average, averaged, names, origin, reuse)
        return report

    def _targets(self, batch: Batch) -> list[Targets]:
        if "targets" not in batch:
            raise ValueError(
                "Training a detector needs boxes, and the batch has none. Choose a dataset with boxes and leave "
                "--data.reading.labels true; every dataset of a mixture must have them."
            )
        return batch["targets"]


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a state dict whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _frozen_layers(detector: nn.Module, training: DetectorTrainingConfig) -> list[str]:
    """Freezes what is to stay, and returns the names of the layers that stay in eval mode."""
    names = [name for name, _ in detector.named_parameters()]
    for beginning in training.freeze:
        if not any(name.startswith(beginning) for name in names):
            raise ValueError(
                f"training.freeze: no parameter's name begins with '{beginning}'; the first is {names[0]}."
            )
    for name, parameter in detector.named_parameters():
        if name.startswith(training.freeze):
            parameter.requires_grad_(False)
    return [
        name
        for name, module in detector.named_modules()
        if isinstance(module, _BatchNorm) and (training.freeze_batch_norm or f"{name}.".startswith(training.freeze))
    ]
