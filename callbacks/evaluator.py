"""Scores fused images: the only place that logs `val/<metric>` and `test/<metric>`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ivif.callbacks.non_finite_pictures import refuse_not_finite
from ivif.callbacks.trained_pairs import TrainedPairs, trained_pairs
from ivif.contracts.batch import Batch, StepOutput
from ivif.image_ops.color import recolor, split_luma_chroma
from ivif.metrics.detection import DetectionMetrics, DetectionReport
from ivif.metrics.fusion import FusionMetrics
from ivif.metrics.preparation import GreyLevels, grey_levels
from ivif.models.classic import CLASSIC_FUSIONS

DEFAULT_METRICS = ("EN", "SD", "SF", "AG", "SSIM", "Qabf", "VIF")
"""What training runs watch."""


class Evaluator(Callback):
    """Scores every fused image of validation and test, per dataset and overall.

    Detections are scored too where a task makes them and a dataset has boxes: mAP50 and mAP50_95, AP of each class,
    precision and recall at the score with the best F1 (see `ivif.metrics.detection`). Where a dataset has no boxes, its
    detections are not scored; that is said once.

    Scored is the luma of the 8-bit fused RGB, which is the PNG that would be saved. Names count once, so the repeats
    that DDP's samplers add do not change a figure. A metric that is undefined on an image leaves it out and says how
    many.

    `test` adds the classic rows on the same pairs, prints the tables and writes `tables/test.csv`, `.md`,
    `test_per_image.csv`, and `detection.csv`, `.md` and `_per_image.safetensors`. `validate` does the same as `val` and
    `val_detection`, without classic rows, and on the command line prints alone; validation within `fit` logs, and says
    its scores in one line. How many of the pairs the network was trained on stands in the tables, and is warned of.

    Args:
        metrics: Names of the metrics that validation watches; see `ivif.metrics.conventions`.
        test_metrics: Names of the metrics that testing reports; `None` takes the convention's own.
        convention: Which definition each name stands for.
        classic_rows: Whether test tables show average, maximum, Laplacian pyramid and contourlet beside the method.
        chunk: Images scored at a time; `None` chooses by device.
        efficiency: Size such as `640x480` at which testing measures parameters, operations, time and memory of fusing
            one picture, as columns of the table; `None`: not.

    Raises:
        ValueError: If a metric or convention is unknown, or the size is none.

    Attributes:
        keeps_tables: Whether tables are written too, beside being printed.
    """

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        test_metrics: Sequence[str] | None = None,
        convention: str = "standard",
        classic_rows: bool = True,
        chunk: int | None = None,
        efficiency: str | None = None,
    ) -> None:
        self.efficiency = None if efficiency is None else _size(efficiency)
        self.metrics = tuple(metrics)
        self.test_metrics = None if test_metrics is None else tuple(test_metrics)
        self.convention = convention
        self.classic_rows = classic_rows
        self.chunk = chunk
        self.keeps_tables = True
        self._scores: dict[str, FusionMetrics] = {}
        self._method = ""
        self._detection: DetectionMetrics | None = None
        self._unlabelled: set[str] = set()
        self._trained: TrainedPairs | None = None
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
        class_names: Sequence[str] = getattr(module, "class_names", ())
        self._detection = DetectionMetrics(class_names) if class_names else None
        self._trained = None if trainer.state.fn == TrainerFn.FITTING else trained_pairs(module)
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
        refuse_not_finite(outputs, batch)
        infrared, visible = (GreyLevels(grey_levels(batch[modality])) for modality in ("infrared", "visible"))
        for name, fused in self._pictures(outputs, batch):
            self._scores[name].update(fused, infrared, visible, batch["dataset"], batch["name"])
        if self._trained is not None:
            self._trained.update(batch)
        if "detections" in outputs:
            self._update_detection(outputs, batch)

    def _pictures(self, outputs: StepOutput, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """The method's fused images, and the classic rules' in the visible image's colour, as they would be saved."""
        yield self._method, outputs["fused"].float()
        classic = [name for name in self._scores if name != self._method]
        if not classic:
            return
        visible_luma, chroma = split_luma_chroma(batch["visible"])
        for name in classic:
            yield name, recolor(CLASSIC_FUSIONS[name](batch["infrared"], visible_luma), chroma)

    def _update_detection(self, outputs: StepOutput, batch: Batch) -> None:
        if self._detection is None:
            raise ValueError(
                f"{self._method} returns detections but has no names for their classes: set its `class_names`."
            )
        if "targets" in batch:
            self._detection.update(outputs["detections"], batch["targets"], batch["dataset"], batch["name"])
            return
        for dataset in sorted(set(batch["dataset"]) - self._unlabelled):
            self._unlabelled.add(dataset)
            rank_zero_info(f"{dataset} has no boxes: what {self._method} detects there is not scored.")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `val/<metric>` and `val/<dataset>/<metric>`; tables only for a validation that is not part of `fit`."""
        if trainer.sanity_checking:
            return
        detection = self._log(pl_module, "val")
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._report(trainer, detection, "val", "val_detection")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `test/...`, prints the tables, and writes them."""
        task: Any = pl_module
        cost = None if self.efficiency is None else task.efficiency(self.efficiency)
        self._report(trainer, self._log(pl_module, "test"), "test", "detection", cost)

    def _report(
        self,
        trainer: Trainer,
        detection: DetectionReport | None,
        stem: str,
        detection_stem: str,
        cost: Mapping[str, float | str] | None = None,
    ) -> None:
        """Prints and writes the tables. Called on every rank, because the scores gather themselves."""
        from ivif.callbacks.tables import DetectionTable, ResultTable  # bring pandas, which training does not need

        if self._trained is not None:
            self._trained.gather()
        table = ResultTable(self.convention, self._scores, self._trained, cost)
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "tables" if self.keeps_tables else None
        table.show()
        if folder is not None:
            table.write(folder, stem)
        if detection is not None:
            detections = DetectionTable(self._method, detection, table.sizes(), self._trained)
            detections.show()
            if folder is not None:
                detections.write(folder, detection_stem)
        if self._trained is not None:
            self._trained.warn(self._method)

    def _log(self, module: LightningModule, stage: str) -> DetectionReport | None:
        """Logs everything; returns the detections' scores, where there are any."""
        scores = self._scores[self._method]
        groups: list[tuple[str, Mapping[str, float]]] = [
            (stage, {metric: value.item() for metric, value in scores.compute().items()}),
            *((f"{stage}/{dataset}", values) for dataset, values in scores.per_dataset().items()),
        ]
        report = self._detection.report() if self._detection is not None else None
        if report is not None and report.overall.images:
            groups.append((stage, report.overall.named()))
            groups += [(f"{stage}/{dataset}", found.named()) for dataset, found in report.datasets.items()]
        else:
            report = None
        # The same on every rank already: the metrics gather themselves.
        values = {f"{group}/{name}": value for group, own in groups for name, value in own.items()}
        module.log_dict(values, add_dataloader_idx=False)
        if module.trainer.state.fn == TrainerFn.FITTING:
            overall = {name: value for group, own in groups if group == stage for name, value in own.items()}
            _say(overall, module.trainer, len(scores.per_image()))
        return report


def _say(scores: Mapping[str, float], trainer: Trainer, pairs: int) -> None:
    """One line for a validation within training: what each class scores is in the log alone."""
    shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if "/" not in name)
    rank_zero_info(f"Validation in epoch {trainer.current_epoch}, step {trainer.global_step}, {pairs} pairs: {shown}")


def _size(text: str) -> tuple[int, int]:
    """Width and height of `640x480`."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise ValueError(f"evaluator.efficiency: '{text}' is no size. Write width x height, such as 640x480.")
    return int(found[1]), int(found[2])


def method_name(module: LightningModule) -> str:
    """How tables call a task: the rule of a classic task, else its class name without `Task`."""
    return str(getattr(module, "method", type(module).__name__.removesuffix("Task")))
