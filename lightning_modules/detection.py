"""Training a detector on one modality or on any fused picture: the baselines of every detection table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from ivif.bilevel.level_loss import LevelLoss
from ivif.contracts.batch import Batch, StepOutput
from ivif.contracts.configuration import config_from
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.declaration import DataNeeds
from ivif.lightning_modules.detection_sources import DetectionSource, FrozenFusion, build_source
from ivif.lightning_modules.detector_training import DetectorPart, DetectorTrainingConfig, below
from ivif.lightning_modules.fake_tensor_memory import Use
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.lightning_modules.training_memory import Arithmetic, use_of
from ivif.models.detection import DetectorConfig
from ivif.models.layers.frozen import FrozenPartMismatchError


class DetectionTask(FusionTask):
    """A detector on infrared, visible, a classic rule's picture, a frozen trained fusion's, or stored pictures.

    `fused` in its outputs is the picture that the detector sees, so that the tables of fusion and of detection speak of
    the same image. Validation, test and predict use the running average of the weights.

    Args:
        classes: Name of each label, in order; the command line takes them from the datamodule.
        source: What the detector sees.
        detector: Which detector. Its `weights` only start a training: a checkpoint of this task has weights of its own.
        training: Averaging and frozen layers.
        optimizer: AdamW's numbers.
        schedule: Learning rate over the run.

    Raises:
        ValueError: If there are no classes, or the source does not load.
    """

    scores_detection: ClassVar[bool] = True
    training_options: ClassVar[frozenset[str]] = FusionTask.training_options | {"training"}
    detector_option: ClassVar[str | None] = "detector"
    part_files: ClassVar[Mapping[str, str]] = {"part": "detector.weights"}

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        source: DetectionSource = DetectionSource(),
        detector: DetectorConfig = DetectorConfig(),
        training: DetectorTrainingConfig = DetectorTrainingConfig(),
        optimizer: AdamConfig = AdamConfig(weight_decay=5e-4, gradient_clip=10.0),
        schedule: WarmupDecayConfig = WarmupDecayConfig(start=1e-5, peak=1e-3, end=1e-5, warmup_fraction=0.1),
    ) -> None:
        super().__init__(config_from(AdamConfig, optimizer), config_from(WarmupDecayConfig, schedule))
        source = config_from(DetectionSource, source)
        detector = config_from(DetectorConfig, detector)
        training = config_from(DetectorTrainingConfig, training)
        self.store_hyperparameters(
            classes=list(classes or ()),
            source=source,
            detector=replace(detector, weights=None),  # a checkpoint has the weights themselves
            training=training,
            optimizer=self.optimizer_config,
            schedule=self.schedule_config,
        )
        self.kind = source.kind
        self.source: Callable[[Batch], Tensor] = build_source(source)
        self.part = DetectorPart(detector, classes, training)
        self.class_names = self.part.class_names

    @property
    def method(self) -> str:
        """How tables call it: what the detector sees, and that it is a detector, such as `infrared+detector`."""
        fusion = self._fusion()
        return f"{type(fusion).__name__.removesuffix('Task') if fusion is not None else self.kind}+detector"

    @property
    def data_needs(self) -> DataNeeds:
        """What the frozen fusion's CLIP sees; what only its training needs, nobody does."""
        fusion = self._fusion()
        return DataNeeds() if fusion is None else DataNeeds(clip_size=fusion.data_needs.clip_size)

    def networks(self) -> Sequence[nn.Module]:
        """None: fusion is frozen, and detectors are not compiled."""
        return []

    def fuse_images(self, batch: Batch) -> Tensor:
        """The picture that the detector sees, (B, 3, H, W) in [0, 1]."""
        return self.source(batch)

    def batch_loss(self, batch: Batch) -> LevelLoss:
        """The detector's own terms, which hold their gains already.

        Raises:
            ValueError: If the batch has no boxes.
        """
        return self.part.loss(self.fuse_images(batch), batch)

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The same terms as quotients.

        Raises:
            ValueError: As `batch_loss`.
        """
        return self.part.terms(fused, batch)

    def fuse(self, batch: Batch) -> StepOutput:
        """The picture and what the averaged detector finds in it."""
        output = super().fuse(batch)
        output["detections"] = self.part.detect(output["fused"])
        return output

    def probe_planes(self) -> dict[str, int]:
        """The picture itself, where it is stored."""
        return {"fused": 3} if self.kind == "folder" else {}

    def prepare_probe(self) -> None:
        """The frozen fusion's attributes too."""
        super().prepare_probe()
        if (fusion := self._fusion()) is not None:
            fusion.prepare_probe()

    def training_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What the picture takes, and then the detector's loss."""
        picture = use_of(self.source, small, size, arithmetic)
        return picture.then(self.part.training_use(size, arithmetic))

    def inference_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What the picture takes, and then the detector."""
        return super().inference_use(small, size, arithmetic).then(self.part.inference_use(size))

    def after_step(self, level: str) -> None:
        """The running average."""
        self.part.update_average()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a detector that was trained on other pictures, and takes over the sizes of its head.

        Raises:
            FrozenPartMismatchError: If the checkpoint's source is of another kind; names both.
        """
        super().on_load_checkpoint(checkpoint)
        trained = checkpoint.get("hyper_parameters", {}).get("source", {}).get("kind", self.kind)
        if trained != self.kind:
            raise FrozenPartMismatchError(
                f"The checkpoint's detector was trained on '{trained}', but this run shows it '{self.kind}'. Give the "
                f"same --model.source.kind."
            )
        self.part.fit_heads(below("part.", checkpoint["state_dict"]))

    def _fusion(self) -> FusionTask | None:
        return self.source.task if isinstance(self.source, FrozenFusion) else None
