"""Panels of infrared, visible and fused images, to disk and to loggers that show images."""

from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from callbacks.boxes import Boxes, above_score, overlay
from callbacks.evaluator import method_name
from callbacks.images import panel, save_atomically, to_picture
from datamodules.datasets.batch import Batch, StepOutput


class ImageLogger(Callback):
    """Shows the first pairs of every dataset at each validation and at test.

    Writes `RUN_DIR/panels/<stage>/step0001500/<dataset>_<name>.png`, and the same panels to W&B where it is the logger.
    A logger that lacks images is left alone. Where a task detects, objects are drawn on the visible picture and
    detections on the fused one; W&B also gets them as overlays that can be switched on and off.

    Args:
        images_per_dataset: How many pairs of each dataset to show; 0 shows none.
        height: Height of one picture in the panel, in pixels.
        box_threshold: Least score of the detections that are drawn.
    """

    def __init__(self, images_per_dataset: int = 2, height: int = 256, box_threshold: float = 0.25) -> None:
        self.images_per_dataset = images_per_dataset
        self.height = height
        self.box_threshold = box_threshold
        self._shown: dict[str, int] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting anew."""
        self._shown = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting anew."""
        self._shown = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows the pairs of one validation batch."""
        if not trainer.sanity_checking:
            self._show(trainer, pl_module, outputs, batch, "val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Shows the pairs of one test batch."""
        self._show(trainer, pl_module, outputs, batch, "test")

    def _show(self, trainer: Trainer, module: LightningModule, outputs: StepOutput, batch: Batch, stage: str) -> None:
        if not trainer.is_global_zero:
            return
        for index, (dataset, name) in enumerate(zip(batch["dataset"], batch["name"], strict=True)):
            if self._shown.get(dataset, 0) >= self.images_per_dataset:
                continue
            self._shown[dataset] = self._shown.get(dataset, 0) + 1
            method, class_names = method_name(module), getattr(module, "class_names", ())
            boxes = self._boxes(outputs, batch, index, method) if class_names else {}
            images = {
                f"infrared ({dataset} {name})": batch["infrared"][index],
                "visible": batch["visible"][index],
                method: outputs["fused"][index],
            }
            picture = panel(images, self.height, boxes, class_names)
            folder = Path(trainer.default_root_dir) / "panels" / stage / f"step{trainer.global_step:07d}"
            save_atomically(picture, folder / f"{dataset}_{name}.png")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"{stage}/{dataset}/{name}", [picture], step=trainer.global_step)
                    if boxes:
                        titles = {"visible": "ground_truth", method: "predictions"}
                        overlays = {titles[shown]: overlay(own, class_names) for shown, own in boxes.items()}
                        fused, key = to_picture(outputs["fused"][index]), f"{stage}/{dataset}/{name}/boxes"
                        logger.log_image(key, [fused], step=trainer.global_step, boxes=[overlays])

    def _boxes(self, outputs: StepOutput, batch: Batch, index: int, method: str) -> dict[str, Boxes]:
        """Objects on the visible picture, detections on the fused one."""
        boxes: dict[str, Boxes] = {}
        if "targets" in batch:
            boxes["visible"] = cast("Boxes", batch["targets"][index])
        if "detections" in outputs:
            boxes[method] = above_score(cast("Boxes", outputs["detections"][index]), self.box_threshold)
        return boxes
