"""Scores fused images: the only place that logs `val/<metric>` and `test/<metric>`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.detection_tables import DetectionTable, with_overall
from callbacks.tables import ResultTable
from datamodules.datasets.batch import Batch, StepOutput
from image_ops.color import recolor, split_luma_chroma
from metrics.detection import DetectionMetrics
from metrics.fusion import FusionMetrics
from models.classic import CLASSIC_FUSIONS

DEFAULT_METRICS = ("EN", "SD", "SF", "AG", "SSIM", "Qabf", "VIF")
"""What training runs watch."""


class Evaluator(Callback):
    """Scores every fused image of validation and test, per dataset and overall.

    Detections are scored too where a task makes them and a dataset has boxes: mAP, average precision of each class,
    precision and recall; testing writes `tables/detection.csv` and `.md`.

    Scored is the luma of the 8-bit fused RGB, which is the PNG that would be saved. Names count once, so the repeats
    that DDP's samplers add do not change a figure. A metric that is undefined on an image leaves it out and says how
    many. Testing adds the classic rows on the same pairs and writes `tables/test.csv`, `.md` and `test_per_image.csv`.

    Args:
        metrics: Names of the metrics that validation watches; see `metrics.conventions`.
        test_metrics: Names of the metrics that testing reports; `None` takes the convention's own.
        convention: Which definition each name stands for.
        classic_rows: Whether test tables show average, maximum and Laplacian pyramid beside the method.
        chunk: Images scored at a time; `None` chooses by device.
    """

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        test_metrics: Sequence[str] | None = None,
        convention: str = "standard",
        classic_rows: bool = True,
        chunk: int | None = None,
    ) -> None:
        self.metrics = tuple(metrics)
        self.test_metrics = None if test_metrics is None else tuple(test_metrics)
        self.convention = convention
        self.classic_rows = classic_rows
        self.chunk = chunk
        self._scores: dict[str, FusionMetrics] = {}
        self._method = ""
        self._detection: DetectionMetrics | None = None
        for names in (self.metrics, self.test_metrics):  # unknown names end the run here, not after training
            self._build("fused", (), names)

    def _build(self, method: str, classic: Sequence[str], metrics: Sequence[str] | None) -> None:
        self._method = method
        names = [method, *(name for name in classic if name != method)]
        self._scores = {name: FusionMetrics(metrics, self.convention, chunk=self.chunk) for name in names}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from no image."""
        self._build(method_name(pl_module), (), self.metrics)
        self._begin(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from no image, with the classic rows."""
        self._build(method_name(pl_module), tuple(CLASSIC_FUSIONS) if self.classic_rows else (), self.test_metrics)
        self._begin(trainer, pl_module)

    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        names = getattr(module, "class_names", ()) if getattr(module, "scores_detection", False) else ()
        self._detection = DetectionMetrics(names) if names else None
        for scores in self._scores.values():
            scores.to(trainer.strategy.root_device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Scores one batch."""
        self._update(outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Scores one batch, and the classic rules on the same pairs."""
        self._update(outputs, batch)

    def _update(self, outputs: StepOutput, batch: Batch) -> None:
        for name, scores in self._scores.items():
            fused = outputs["fused"] if name == self._method else _classic_picture(name, batch)
            scores.update(fused.float(), batch["infrared"], batch["visible"], batch["dataset"], batch["name"])
        if self._detection is not None and "detections" in outputs and "targets" in batch:
            self._detection.update(outputs["detections"], batch["targets"], batch["dataset"], batch["name"])  # type: ignore[arg-type]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `val/<metric>` and `val/<dataset>/<metric>`."""
        if not trainer.sanity_checking:
            self._log(pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `test/...`, prints the table, and writes it."""
        self._log(pl_module, "test")
        table = ResultTable(self.convention, self._scores)
        if trainer.is_global_zero:
            table.show()
            table.write(Path(trainer.default_root_dir) / "tables", "test")
        self._write_detection(trainer)

    def _log(self, module: LightningModule, stage: str) -> None:
        scores = self._scores[self._method]
        overall = {f"{stage}/{metric}": value.item() for metric, value in scores.compute().items()}
        per_dataset = {
            f"{stage}/{dataset}/{metric}": value
            for dataset, values in scores.per_dataset().items()
            for metric, value in values.items()
        }
        # The same on every rank already: the metrics gather themselves.
        module.log_dict(overall | per_dataset | self._detection_values(stage), add_dataloader_idx=False)

    def _detection_values(self, stage: str) -> dict[str, float]:
        if self._detection is None:
            return {}
        overall, scores = self._detection.compute_overall(), self._detection.compute()
        if not overall.images:
            return {}  # no dataset of this stage has boxes
        values = {f"{stage}/{name}": value for name, value in overall.named().items()}
        for dataset, result in scores.items():
            values |= {f"{stage}/{dataset}/{name}": value for name, value in result.named().items()}
        return values

    def _write_detection(self, trainer: Trainer) -> None:
        if self._detection is None:
            return
        overall, scores = self._detection.compute_overall(), self._detection.compute()
        if trainer.is_global_zero and overall.images:
            table = DetectionTable(self._method, with_overall(scores, overall))
            table.show()
            table.write(Path(trainer.default_root_dir) / "tables")


def _classic_picture(name: str, batch: Batch) -> Tensor:
    """A classic rule in the visible image's colour: the picture that its own task would save."""
    visible_luma, chroma = split_luma_chroma(batch["visible"])
    return recolor(CLASSIC_FUSIONS[name](batch["infrared"], visible_luma), chroma)


def method_name(module: LightningModule) -> str:
    """How tables call a task: the rule of a classic task, else its class name without `Task`."""
    return str(getattr(module, "method", type(module).__name__.removesuffix("Task")))
