"""Fusion and a detector on the fused picture, on two levels: what both methods with a detector share."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from ivif.bilevel import LevelLoss
from ivif.contracts.batch import Batch, StepOutput
from ivif.image_ops.color import recolor, split_luma_chroma
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.detector_training import DetectorPart, DetectorTrainingConfig, below
from ivif.lightning_modules.fake_tensor_memory import Use, really
from ivif.lightning_modules.level_batch import SMALLEST_CROP, CropConfig, LevelBatch
from ivif.lightning_modules.snapshot import Snapshot
from ivif.lightning_modules.training_memory import (
    Arithmetic,
    crop_size,
    iteration_use,
    largest,
    use_of,
)
from ivif.models.detection import DetectorConfig
from ivif.models.layers.tiling import Tiling


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
    training_options: ClassVar[frozenset[str]] = BilevelTask.training_options | {"crops", "training"}
    detector_option: ClassVar[str | None] = "detector"
    part_files: ClassVar[Mapping[str, str]] = {"part": "detector.weights"}
    recompute_option: ClassVar[str | None] = "network.checkpoint_blocks"

    network: nn.Module
    crops: CropConfig
    value_network: nn.Module | None
    part: DetectorPart | None
    teacher: Snapshot | None

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
        second = detector is not None and self.bilevel_config.solver_class.needs_value
        self.value_network = deepcopy(network) if second else None
        self.part = self.teacher = None
        if detector is not None:
            self.part = DetectorPart(detector, classes, training)
            self.class_names = self.part.class_names

    @property
    def tiling(self) -> Tiling | None:
        """The fusion network's, if it has any."""
        return getattr(self.network, "tiling", None)

    @abstractmethod
    def fused_luma(self, network: nn.Module, batch: Batch) -> Tensor:
        """The fused luma (B, 1, H, W) in [0, 1] that a network draws of a batch, with gradient."""

    @abstractmethod
    def fusion_loss(self, level: str, network: nn.Module, crops: Batch) -> LevelLoss:
        """The loss of the fusion network of a level (`lower` or `value`), through `weighted`."""

    def undisturbed_network(self) -> nn.Module:
        """The fusion network that no detector has moved: the value function's copy once it is trained, else the one."""
        follows_alone = self._solver is not None and self._solver.value_is_trained
        return self.value_network if follows_alone and self.value_network is not None else self.network

    def fuse_images(self, batch: Batch) -> Tensor:
        """Fused luma of whole frames."""
        return self.fused_luma(self.network, batch)

    def fuse(self, batch: Batch) -> StepOutput:
        """The fused picture and, with a detector, what it finds there."""
        output = super().fuse(batch)
        if self.part is not None:
            output["detections"] = self.part.detect(output["fused"])
        return output

    def networks(self) -> Sequence[nn.Module]:
        """The trained one, the value function's copy, the teacher."""
        copies = (self.network, self.value_network, self.teacher and self.teacher.network)
        return [network for network in copies if network is not None]

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

    def lower_losses(self) -> Sequence[Callable[[Batch], Tensor]]:
        """What is computed of crops in the course of a run, if anything, of which a probe takes the largest."""
        return [lambda crops: self.level_loss("lower", LevelBatch(crops, crops)).value]

    def crop_planes(self) -> dict[str, int]:
        """Planes, and their channels, that crops have in some epochs only."""
        return {}

    def smaller_crops(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Fewer crops of each frame, then smaller ones."""
        count, side = self.crops.per_frame, self.crops.size or 0
        while (count := count // 2) >= 1:
            yield f"--model.crops.per_frame {count}", {"crops": replace(self.crops, per_frame=count)}
        while (side := side // 2) >= SMALLEST_CROP:
            yield f"--model.crops.size {side}", {"crops": replace(self.crops, size=side)}

    def training_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What an iteration of the scheme holds, or its part where batches are cut."""
        pairs = -(-size[0] // self.bilevel_config.accumulate)
        frames, crops = (pairs, *size[1:]), crop_size(self.crops, pairs, *size[1:])
        with really():
            seen = self.level_batch(small).crops
        lower = largest(
            [use_of(run, seen, crops, arithmetic, self.network, self.crop_planes()) for run in self.lower_losses()]
        )
        if self.part is None:
            return lower
        if self.bilevel_config.solver_class.upper_reaches_lower:
            fusion = use_of(lambda batch: self._colored(batch).mean(), small, frames, arithmetic, self.network)
        else:
            fusion = use_of(self._colored, small, frames, arithmetic)
        return iteration_use(self.bilevel_config, lower, fusion, self.part.training_use(frames, arithmetic))

    def inference_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What fusing holds, and then the detector."""
        fused = super().inference_use(small, size, arithmetic)
        return fused if self.part is None else fused.then(self.part.inference_use(size))

    def _detection_loss(self, frames: Batch) -> LevelLoss:
        if self.part is None:
            raise RuntimeError("There is no detector to train.")
        return self.part.loss(self._colored(frames), frames)

    def _colored(self, frames: Batch) -> Tensor:
        _, chroma = split_luma_chroma(frames["visible"])
        return recolor(self.fused_luma(self.network, frames).float(), chroma)


def without_weights(detector: DetectorConfig | None) -> DetectorConfig | None:
    """The detector's configuration as checkpoints keep it: they have the weights themselves."""
    return detector and replace(detector, weights=None)
