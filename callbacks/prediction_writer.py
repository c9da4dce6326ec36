"""Writes fused images as PNG files, and what was detected in them, resumable and never half written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ivif.callbacks.detection_files import DetectionFiles, gather
from ivif.callbacks.evaluator import method_name
from ivif.callbacks.images import save_atomically
from ivif.callbacks.non_finite_pictures import refuse_not_finite
from ivif.callbacks.trained_pairs import TrainedPairs, trained_pairs
from ivif.contracts.batch import Batch, StepOutput
from ivif.image_ops.color import luma
from ivif.image_ops.pictures import to_picture
from ivif.machine.process_group import gather_objects, process_count


class PredictionWriter(Callback):
    """Saves every fused image of `predict` as `OUTPUT/<stem>.png`, at the visible image's own size.

    With several datasets each gets a folder of its name. Where the task detects, the folder also gets what was found:
    `detections/<stem>.json` of each picture, and `detections.json` of all (`ivif.callbacks.detection_files`).

    A record in the folder says which command made which pictures (`ivif.callbacks.prediction_record`): the command line
    leaves out those that are finished before anything is computed, and refuses to write over another command's.

    Args:
        output_dir: Where to write; `None` writes to `RUN_DIR/fused/`.
        grey: Save the fused luma alone instead of colour.
        boxes: What else to write of detections.

    Attributes:
        prepare: Called with the folder, in the first process, when everything is checked and the first picture comes.
        finish: Called with the folder, in the first process, when all processes have written; gives `results`.
        results: Files with the detections of all pictures.
        written: How many pictures this process wrote; after `predict`, all processes, each picture counted once.
    """

    def __init__(
        self, output_dir: Path | None = None, grey: bool = False, boxes: DetectionFiles = DetectionFiles()
    ) -> None:
        self.output_dir = output_dir
        self.grey = grey
        self.boxes = boxes
        self.prepare: Callable[[Path], None] | None = None
        self.finish: Callable[[Path], list[Path]] = gather
        self.results: list[Path] = []
        self.written = 0
        self._pictures: set[Path] = set()
        self._trained: TrainedPairs | None = None

    def folder(self, trainer: Trainer) -> Path:
        """The folder of this run's pictures."""
        return Path(self.output_dir) if self.output_dir is not None else Path(trainer.default_root_dir) / "fused"

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepares the folder, and begins to count the pairs that the network was trained on."""
        self._trained = trained_pairs(pl_module)
        if self.prepare is not None and trainer.is_global_zero:
            self.prepare(self.folder(trainer))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes the pictures of one batch."""
        several = len(trainer.num_predict_batches) > 1
        self._write(self.folder(trainer), outputs, batch, several, getattr(pl_module, "class_names", ()))
        if self._trained is not None:
            self._trained.update(batch)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how many of the fused pairs the network was trained on."""
        if self._trained is not None:
            self._trained.gather()
            if trainer.is_global_zero:
                self._trained.warn(method_name(pl_module))

    def _write(
        self, folder: Path, outputs: StepOutput, batch: Batch, several: bool, class_names: Sequence[str]
    ) -> None:
        refuse_not_finite(outputs, batch)
        fused = luma(outputs["fused"]) if self.grey else outputs["fused"]
        found = outputs.get("detections")
        for index, (dataset, name) in enumerate(zip(batch["dataset"], batch["name"], strict=True)):
            path, picture = picture_path(folder, dataset, name, several), to_picture(fused[index])
            if found is not None:
                self.boxes.write(found[index], picture, path, class_names)
            save_atomically(picture, path)  # last: a picture stands for all files of its pair
            self.written += 1
            if process_count() > 1:
                self._pictures.add(path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Counts the pictures of all processes; gathers the detections of all, those of earlier runs among them."""
        if stage != "predict":
            return
        if process_count() > 1:  # with fewer pairs than processes some had the same
            self.written = len(set().union(*gather_objects(self._pictures)))
        if trainer.is_global_zero:
            self.results = self.finish(self.folder(trainer))

    def is_finished(self, picture: Path, detects: bool) -> bool:
        """Whether a picture and all that belongs to it are there."""
        return all(path.is_file() for path in (picture, *(self.boxes.paths(picture) if detects else ())))


def picture_path(folder: Path, dataset: str, name: str, several: bool) -> Path:
    """Where the fused image of a pair goes.

    Raises:
        ValueError: If that would be outside the folder: names are those of files, and hold no path.
    """
    for part in (dataset, name):
        if "/" in part or "\\" in part or part in ("", ".", ".."):
            raise ValueError(f"'{dataset}', '{name}': results are stored by these names, which must not be paths.")
    return (folder / dataset if several else folder) / f"{name}.png"
