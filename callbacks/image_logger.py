"""Panels of infrared, visible, fused and previously fused images, to disk and to dashboards."""

import logging
from glob import escape
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from ivif.callbacks.boxes import above_score
from ivif.callbacks.dashboards import dashboards
from ivif.callbacks.evaluator import method_name
from ivif.callbacks.images import panel, save_atomically
from ivif.contracts.batch import Batch, Boxes, StepOutput
from ivif.files.errors import UnreadableFileError
from ivif.files.names import file_name
from ivif.files.pictures import load_rgb
from ivif.files.text_output import key
from ivif.image_ops.pictures import to_picture

logger = logging.getLogger(__name__)

FUSED = "fused"
"""Folder, beside the panels of a validation, of its fused pictures alone."""

_DIGITS: Final = 19
_NO_STEP: Final = -1


class ImageLogger(Callback):
    """Shows the first pairs of every dataset at each validation and at test.

    Writes `RUN_DIR/panels/<stage>/step0001500/<dataset>/<name>.png`, and the same to dashboards. In validation the
    fused picture alone is kept too, below `fused/` beside the datasets: the next validation shows it as the previous
    one, in a resumed run as well. Where a task detects, objects are drawn on the visible picture and detections on the
    fused one; dashboards also get them as overlays, which W&B can switch on and off.

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
            images: dict[str, Tensor | Image.Image] = {
                f"infrared ({dataset} {name})": batch["infrared"][index],
                "visible": batch["visible"][index],
                method: outputs["fused"][index],
            }
            folder = Path(trainer.default_root_dir) / "panels" / stage / step_folder(trainer.global_step)
            file, fused = f"{dataset}/{file_name(name, '.png')}", to_picture(outputs["fused"][index])
            if stage == "val":
                images |= previous_picture(folder, file, trainer.global_step)
                save_atomically(_shrunk(fused, self.height), folder / FUSED / file)
            picture = panel(images, self.height, boxes, class_names)
            save_atomically(picture, folder / file)
            titles = {"visible": "ground_truth", method: "predictions"}
            overlays = {titles[shown]: own for shown, own in boxes.items()}
            logged = max(0, trainer.global_step - 1)  # as Lightning numbers the values that it logs after a step
            for board in dashboards(trainer):
                board.show_picture(key("panels", stage, dataset, name), picture, logged)
                if overlays:
                    shown = key("boxes", stage, dataset, name)
                    board.show_picture(shown, fused, logged, overlays, class_names)

    def _boxes(self, outputs: StepOutput, batch: Batch, index: int, method: str) -> dict[str, Boxes]:
        """Objects on the visible picture, detections on the fused one."""
        boxes: dict[str, Boxes] = {}
        if "targets" in batch:
            boxes["visible"] = batch["targets"][index]
        if "detections" in outputs:
            boxes[method] = above_score(outputs["detections"][index], self.box_threshold)
        return boxes


def step_folder(step: int) -> str:
    """Name of the folder of a step's panels."""
    return f"step{step:07d}"


def previous_picture(folder: Path, file: str, step: int) -> dict[str, Image.Image]:
    """What the last validation before a step made of a pair, under its caption; empty for the first.

    Args:
        folder: The folder of the step's panels; those of other steps lie beside it.
        file: The picture's path among those of its step, `<dataset>/<name>.png`.
        step: The step.
    """
    before = file.replace("/", "_", 1)  # what runs of before these folders called it
    earlier = {
        _step(path.relative_to(folder.parent)): path
        for name in (before, file)
        for path in folder.parent.glob(f"step*/{FUSED}/{escape(name)}")
    }
    newest = max((number for number in earlier if 0 <= number < step), default=None)
    if newest is None:
        return {}
    try:
        return {f"previous (step {newest})": load_rgb(earlier[newest], "The panel goes without it.")}
    except UnreadableFileError as error:
        logger.warning("%s", error)
        return {}


def _step(path: Path) -> int:
    number = path.parts[0].removeprefix("step")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < _DIGITS else _NO_STEP


def _shrunk(picture: Image.Image, height: int) -> Image.Image:
    return picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.LANCZOS)
