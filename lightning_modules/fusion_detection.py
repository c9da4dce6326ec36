"""Fusion and a detector on the fused picture, on two levels: what both methods with a detector share."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from datamodules.datasets.batch import Batch, StepOutput
from image_ops.color import recolor, split_luma_chroma
from lightning_modules.bilevel import BilevelConfig, LevelLoss
from lightning_modules.bilevel_task import BilevelTask
from lightning_modules.detector_part import DetectorPart, DetectorTrainingConfig, below
from lightning_modules.level_batch import LevelBatch
from lightning_modules.optimization import LevelConfig
from lightning_modules.training_memory import (
    crop_pixels,
    kept_bytes,
    peak_bytes,
    probe,
    probe_pixels,
    small_probe,
    undisturbed,
)
from models.detection import DetectorConfig


class FusionDetectionTask(BilevelTask):
    """A fusion network below, a detector on its coloured result above, the value function's copy beside.

    A method gives `fused_luma` and `fusion_loss`; its constructor ends by calling `add_networks`.

    Args:
        bilevel: The scheme that trains both.
        lower: Optimiser and schedule of fusion.
        upper: Optimiser and schedule of the detector.
    """

    scores_detection: ClassVar[bool] = True
    training_parts: ClassVar[tuple[str, ...]] = ("value_network.", "teacher.")

    network: nn.Module
    value_network: nn.Module | None
    part: DetectorPart | None

    def __init__(self, bilevel: BilevelConfig, lower: LevelConfig, upper: LevelConfig) -> None:
        super().__init__(bilevel, lower, upper)
        self.class_names: tuple[str, ...] = ()

    def add_networks(
        self,
        network: nn.Module,
        detector: DetectorConfig | None,
        classes: Sequence[str] | None,
        training: DetectorTrainingConfig,
    ) -> None:
        """Takes the fusion network, copies it where the scheme needs a second one, and builds the detector.

        Args:
            network: Of fusion.
            detector: Which detector; None trains fusion alone.
            classes: Name of each label, in order.
            training: Averaging and frozen layers of the detector.

        Raises:
            ValueError: If a detector is asked for and there are no classes.
        """
        self.network = network
        second = detector is not None and self.bilevel_config.scheme == "value_function"
        self.value_network = deepcopy(network) if second else None
        self.part = None
        if detector is not None:
            self.part = DetectorPart(detector, classes, training)
            self.class_names = self.part.class_names

    @abstractmethod
    def fused_luma(self, network: nn.Module, batch: Batch) -> Tensor:
        """The fused luma (B, 1, H, W) in [0, 1] that a network draws of a batch, with gradient."""

    @abstractmethod
    def fusion_loss(self, level: str, network: nn.Module, crops: Batch) -> LevelLoss:
        """The loss of the fusion network of a level (`lower` or `value`), through `weighted`."""

    def fuse_images(self, batch: Batch) -> Tensor:
        """Fused luma of whole frames."""
        return self.fused_luma(self.network, batch)

    def fuse(self, batch: Batch) -> StepOutput:
        """The fused picture and, with a detector, what it finds there."""
        output = super().fuse(batch)
        if self.part is not None:
            output["detections"] = self.part.detect(output["fused"])
        return output

    def level_modules(self) -> Mapping[str, nn.Module]:
        """The fusion network below, the detector above, the value function's copy beside."""
        modules: dict[str, nn.Module] = {"lower": self.network}
        if self.part is not None:
            modules["upper"] = self.part.detector
        if self.value_network is not None:
            modules["value"] = self.value_network
        return modules

    def split_batch(self, batch: LevelBatch, parts: int) -> Sequence[LevelBatch]:
        """Parts of frames and crops, for accumulation."""
        return batch.split(parts)

    def level_size(self, level: str, batch: LevelBatch) -> int:
        """Frames for the detector, crops for everything else."""
        return len((batch.frames if level == "upper" else batch.crops)["name"])

    def level_loss(self, level: str, batch: LevelBatch) -> LevelLoss:
        """The fusion loss on the crops (levels lower and value), the detector's on the frames (level upper)."""
        if level == "upper":
            return self._detection_loss(batch.frames)
        return self.fusion_loss(level, self.level_modules()[level], batch.crops)

    def after_step(self, level: str) -> None:
        """The detector's average after one of its steps."""
        if level == "upper" and self.part is not None:
            self.part.update_average()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over the sizes of the detector's head, which weights that its run started from may have decided."""
        super().on_load_checkpoint(checkpoint)
        if self.part is not None:
            self.part.fit_heads(below("part.", checkpoint["state_dict"]))

    def estimate_training_memory(self, batch_size: int, height: int, width: int) -> int | None:
        """Bytes of a training step, scaled up from a small one; None where blocks are computed again.

        What the steps of several levels keep is in `training_memory.peak_bytes`; gradients and Adam's moments count
        three times the trained weights.
        """
        crops = getattr(self, "crops", None)
        if getattr(getattr(self.network, "config", None), "checkpoint_blocks", False) or crops is None:
            return None
        noted = dict(self.diagnostics)
        with undisturbed(self), self.trainer.precision_plugin.forward_context():
            frames = small_probe(self.device)
            levels = self.level_batch(frames)
            seen = levels.crops["infrared"].shape
            lower = kept_bytes(lambda: self.level_loss("lower", levels).value, [self]) / (seen[0] * seen[2] * seen[3])
            fusion = kept_bytes(lambda: self.fused_luma(self.network, frames), [self]) / probe_pixels()
            detector = self._detector_bytes(height, width)
        self.diagnostics = noted
        activations = peak_bytes(
            self.bilevel_config,
            lower * crop_pixels(crops, batch_size, height, width),
            fusion * batch_size * height * width * (self.part is not None),
            float(detector * batch_size),
        )
        trained = sum(p.nbytes for module in self.level_modules().values() for p in module.parameters())
        return round(activations) + 3 * trained

    def _detector_bytes(self, height: int, width: int) -> int:
        """What the detector keeps of one frame."""
        part = self.part
        if part is None:
            return 0
        frame = probe(1, height, width, self.device)
        return kept_bytes(lambda: part.loss(frame["visible"], frame).value, [self])

    def _detection_loss(self, frames: Batch) -> LevelLoss:
        if self.part is None:
            raise RuntimeError("There is no detector to train.")
        _, chroma = split_luma_chroma(frames["visible"])
        fused = recolor(self.fused_luma(self.network, frames).float(), chroma)
        return self.part.loss(fused, frames)


def without_weights(detector: DetectorConfig | None) -> DetectorConfig | None:
    """The detector's configuration as checkpoints keep it: they have the weights themselves."""
    return detector and replace(detector, weights=None)
