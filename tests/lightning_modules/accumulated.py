"""Tasks whose batches are cut into parts, or joined from several, and the gradients that their optimisers see."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ivif.bilevel import BilevelConfig
from ivif.contracts.batch import Batch
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.layers.quantizer import VectorQuantizer
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.scenes import CLASSES
from ivif.testing.batches import quiet_trainer, still

SIZE: Final = (64, 64)
OBJECTS: Final = (0, 0, 5, 1, 0, 3)
"""How many objects the frames of a batch keep: two in three parts of two frames are uneven, the first is empty."""


class UnevenScenes(SyntheticDataModule):
    """Generated scenes, some of which lose their objects.

    Args:
        batch_size: Frames per batch and process.
        length: Training frames.
    """

    def __init__(self, batch_size: int, length: int = 6) -> None:
        super().__init__(
            train_length=length,
            size=SIZE,
            loading=LoadingConfig(batch_size=batch_size, num_workers=0),
            transforms=TransformConfig(crop=None, flip=False, rotate90=False, resize=SIZE),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Adds boxes or drops some, by the frame's name."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        for name, target in zip(batch["name"], batch["targets"], strict=True):
            number = int("".join(filter(str.isdigit, name)))
            count = OBJECTS[number % len(OBJECTS)]
            generator = torch.Generator().manual_seed(number)
            corners = 40 * torch.rand(count, 2, generator=generator)
            sides = 10 + 14 * torch.rand(count, 2, generator=generator)
            target["boxes"] = torch.cat([corners, corners + sides], dim=1)
            target["labels"] = torch.randint(len(CLASSES), (count,), generator=generator)
        return batch


class Gradients(Callback):
    """The gradient of every step before clipping, as (level, vector)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Tensor]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks a task with levels."""
        if isinstance(pl_module, BilevelTask):
            pl_module.watch_gradients = self._take

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Looks at the only optimiser."""
        if pl_module.automatic_optimization:
            self._take("", optimizer)

    def _take(self, level: str, optimizer: torch.optim.Optimizer) -> None:
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in own]
        self.seen.append((level, torch.cat([grad.detach().flatten().clone() for grad in grads])))


def make_task(kind: str, accumulate: int = 1, crops: CropConfig = CropConfig(32, 1)) -> FusionTask:
    """A method by name: `text_to_pixels SCHEME`, `promptfusion PHASE`, `detection ARCHITECTURE`, `mgfusion`.

    Every BatchNorm is still: statistics of a part are not those of the whole.
    """
    torch.manual_seed(0)
    method, _, choice = kind.partition(" ")
    bilevel = BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1, accumulate=accumulate)
    training = DetectorTrainingConfig(freeze_batch_norm=True)
    task: FusionTask
    if method == "text_to_pixels":
        task = TextToPixelsTask(
            clip="random-tiny",
            network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8, codebook_update="ema"),
            detector=DetectorConfig("yolov5n", image_size=None),
            training=training,
            bilevel=replace(bilevel, scheme=choice),
            crops=crops,
            classes=CLASSES,
        )
    elif method == "promptfusion":
        scheme = "value_function" if choice == "bilevel" else "joint"
        refinement = RefinementConfig(rounds=int(choice == "refinement"), share=0.99)
        phase = "fusion" if choice == "refinement" else choice
        task = PromptFusionTask(
            network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
            prompts=PromptsConfig(clip="random-tiny", length=4, refinement=refinement),
            phases=PhaseConfig(only=phase),  # type: ignore[arg-type]
            detector=DetectorConfig("yolov5n", image_size=None),
            training=training,
            bilevel=replace(bilevel, scheme=scheme),
            crops=crops,
            classes=CLASSES,
        )
    elif method == "detection":
        task = DetectionTask(CLASSES, detector=DetectorConfig(choice, image_size=None), training=training)
    else:
        task = MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    for module in task.modules():
        if isinstance(module, VectorQuantizer):
            module.started.fill_(True)
    return still(task)


def fit(task: FusionTask, data: SyntheticDataModule, folder: Path, **options: Any) -> list[tuple[str, Tensor]]:
    """The gradients of one step, or as the options say."""
    gradients = Gradients()
    torch.manual_seed(0)
    settings: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 0, "callbacks": [gradients]}
    quiet_trainer(folder, **(settings | options)).fit(task, data)
    return gradients.seen


def difference(first: Tensor, second: Tensor) -> float:
    """Length of the difference of two gradients, relative to the second."""
    return float((first - second).norm() / second.norm().clamp(min=1e-12))
