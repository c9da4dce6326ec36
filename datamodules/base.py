"""Readers become loaders: the base of every datamodule of the suite."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from ivif.contracts.batch import Batch, BatchSize, Sample, batch_to_float
from ivif.contracts.seeds import run_seed
from ivif.datamodules import pipelines
from ivif.datamodules.batch_sizes import largest_batch, of_each_process
from ivif.datamodules.configuration import LoadingConfig, PredictStage, Stage, TransformConfig
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule
from ivif.datamodules.datasets.cache import cached
from ivif.datamodules.datasets.prompts import PromptConfig, PromptedDataset, known_prompts, warn_of_leaks
from ivif.datamodules.datasets.stored import StoredPlanes, dataset_of, several_datasets
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.loaders import SameSizeGroups, loader_of
from ivif.datamodules.manifest_expansion import write_expansion
from ivif.datamodules.manifests import Manifest, Selection
from ivif.datamodules.sampling import EpochSampler, EvaluationSampler, EvaluationView, TrainingView
from ivif.datamodules.start_checks import check_stored, detected_classes, look_over
from ivif.files.errors import SplitError
from ivif.running.internals import position

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One dataset of a datamodule: its name and how to open one of its official splits.

    Args:
        dataset: Name of the dataset, as in manifests and tables.
        open: Split name -> reader of that split.
        classes: Class names of its boxes, where it has boxes and they are read.
    """

    dataset: str
    open: Callable[[str], PairedDataset]
    classes: tuple[str, ...] = ()


class FusionDataModule(LightningDataModule):
    """Stages, loaders and transforms around one or several readers.

    Training draws are stateless (`ivif.datamodules.sampling`): with the same seed they are the same for any number of
    workers, and a resumed run continues with the next pair. Evaluation keeps native sizes with batch size 1, or batches
    where all frames have one size (`transforms.resize`, `transforms.test_resize`). Processes share its pairs;
    validation inside `fit` repeats some to even them out, and metrics count names once.

    Args:
        manifest: Name or path of the split manifest (see `datamodules/splits/`).
        strict: Refuse to run when pairs that the manifest asks for are missing on disk.
        predict_stage: Which pairs `predict` fuses; `all` takes every pair on disk, whatever the manifest says.
        test_stage: Which pairs `test` scores: `val` compares settings without a look at the test pairs.
        loading: Batch size, workers, seed.
        transforms: Crops, augmentation, resizing, CLIP views.
        prompts: Where `prompt` comes from, if anywhere.
        fused_dir: Folder of fused pictures, as `predict` writes it: every sample carries its own as `fused`.
        previous_dir: Folder in which a task keeps its results of the last epoch (`run_files.STORE_RECORD` says how):
            samples of the training epoch after it carry theirs as `previous`.
    """

    def __init__(
        self,
        manifest: str = "default",
        strict: bool = False,
        predict_stage: PredictStage = "test",
        test_stage: Stage = "test",
        loading: LoadingConfig = LoadingConfig(),
        transforms: TransformConfig = TransformConfig(),
        prompts: PromptConfig | None = None,
        fused_dir: Path | None = None,
        previous_dir: Path | None = None,
    ) -> None:
        super().__init__()
        self.manifest = Manifest.load(manifest)
        self.strict = strict
        self.predict_stage = predict_stage
        self._drawn_from = {"test": test_stage}
        self.loading = loading
        self.transforms = transforms
        self.prompts = prompts
        self.fused_dir = fused_dir
        self.previous_dir = previous_dir
        self.selections: dict[str, list[Selection]] = {}
        self._readers: dict[str, list[Dataset[Sample]]] = {}
        self._caches: dict[str, list[Dataset[Sample]]] = {}
        self._ranges: dict[str, Any] = {}

    @abstractmethod
    def sources(self) -> list[Source]:
        """The datasets of this datamodule, in the order of its loaders."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the boxes, known before a file is opened; () without boxes, or where data sets disagree."""
        known = {source.classes for source in self.sources() if source.classes}
        return known.pop() if len(known) == 1 else ()

    @property
    def batch_size(self) -> int:
        """Training pairs in each of this process's batches."""
        return of_each_process(self.loading, self._place()[1])

    def has_labels(self, stage: str) -> bool:
        """Whether every reader of a stage found boxes, so that its batches have `targets`; opens the readers."""
        readers = self.stage_readers(stage)
        return bool(readers) and all(reader.has_labels for reader in readers)  # type: ignore[attr-defined]

    def box_rule(self) -> BoxRule:
        """Which boxes survive transforms."""
        return DEFAULT_RULE

    def stage_readers(self, stage: str) -> list[Dataset[Sample]]:
        """The readers of a stage ("train", "val", "test", "all"), one per source that has pairs there; cached."""
        stage = self._drawn_from.get(stage, stage)
        if stage not in self._readers:
            self._readers[stage] = [reader for source in self.sources() if (reader := self._open(source, stage))]
        return self._readers[stage]

    def _open(self, source: Source, stage: str) -> Dataset[Sample] | None:
        pool = "all" if stage == "all" else self.manifest.pool(source.dataset, stage)
        if pool is None:
            return None
        reader = source.open(pool)
        reader.measured_range = self._ranges.setdefault(source.dataset, reader.measured_range)
        if stage != "all":
            selection = self.manifest.select(source.dataset, stage, reader.names, strict=self.strict)
            self.selections.setdefault(stage, []).append(selection)
            if selection.missing:
                logger.warning("%s", selection.report)
            reader = reader.select(selection.names)
        return self._prompted(reader)

    def _prompted(self, reader: PairedDataset | SyntheticDataset) -> Dataset[Sample] | None:
        if not len(reader):
            return None
        listed = PromptConfig("pairs") if getattr(reader, "listed_prompts", {}) else None
        return PromptedDataset(reader, chosen) if (chosen := self.prompts or listed) else reader

    def setup(self, stage: str) -> None:
        """Opens what a stage ("fit", "validate", "test", "predict") needs, so that a user's mistake ends the run early.

        Raises:
            DatasetError: If folders, pairs, pictures in `fused_dir` or a detector's boxes are missing, or labels wrong.
        """
        needed = {"fit": "train", "validate": "val", "test": "test", "predict": self.predict_stage}[stage]
        if stage == "test" and self.transforms.resize and not self.transforms.test_resize:
            rank_zero_info("Test pairs keep their own size; `transforms.test_resize` would score smaller frames.")
        if not self.stage_readers(needed):
            names = ", ".join(source.dataset for source in self.sources())
            raise SplitError(
                f"The manifest '{self.manifest.name}' gives no '{needed}' pairs for {names}. Choose another manifest "
                f"with `manifest`, or another dataset (TNO, for one, is never trained on by 'mgfusion')."
            )
        for each in (needed, "val") if stage == "fit" else (needed,):
            readers = self.stage_readers(each)
            look_over(readers, each, detects=stage == "fit" and bool(detected_classes(self.trainer)))
            check_stored(readers, self._with_fused(readers, None))

    def train_dataloader(self) -> DataLoader[Batch]:
        """One loader over all sources; continues mid-epoch when the trainer is resuming."""
        readers = self._cached("train")
        pairs: ConcatDataset[Sample] = ConcatDataset(self._with_fused(readers, self.transforms.resize))
        seed = run_seed() if self.loading.seed is None else self.loading.seed
        sampler = EpochSampler(
            len(pairs),
            self.batch_size,
            seed,
            *self._place(),
            parts=[len(reader) for reader in readers] if self.loading.balance else (),  # type: ignore[arg-type]
            position=partial(position, self.trainer) if self.trainer else None,
        )
        view = TrainingView(
            pairs,
            pipelines.training(self.transforms, self.box_rule()),
            seed,
            pipelines.training_frames(self.transforms, self.box_rule()),
            pipelines.mosaic(self.transforms, self.box_rule()),
            self._previous(pairs, several_datasets(readers)),
        )
        return self._loader(view, self.batch_size, sampler, class_names=detected_classes(self.trainer))

    def _with_fused(self, readers: Sequence[Dataset[Sample]], resized: tuple[int, int] | None) -> list[Dataset[Sample]]:
        if self.fused_dir is None:
            return list(readers)
        several = several_datasets(readers)
        return [StoredPlanes(each, self.fused_dir, "fused", 3, several=several, resized=resized) for each in readers]

    def _previous(self, pairs: Dataset[Sample], several: bool) -> StoredPlanes | None:
        if self.previous_dir is None:
            return None
        return StoredPlanes(pairs, self.previous_dir, "previous", 1, several=several, resized=self.transforms.resize)

    def _cached(self, stage: str) -> list[Dataset[Sample]]:
        if stage not in self._caches:
            where = self.loading.cache, self.loading.cache_folder, self.trainer.num_devices if self.trainer else 1
            self._caches[stage] = [cached(reader, *where) for reader in self.stage_readers(stage)]
        return self._caches[stage]

    def _place(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader per source with validation pairs; empty when the manifest has none."""
        return self._evaluation_loaders(self._cached("val"), "val")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader per source with test pairs, at the pictures' own sizes unless `transforms.test_resize` is set."""
        return self._evaluation_loaders(self.stage_readers("test"), "test")

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader per source of `predict_stage`, at the pictures' own sizes."""
        return self._evaluation_loaders(self.stage_readers(self.predict_stage), "predict")

    def frame_loaders(self, stage: str) -> list[DataLoader[Batch]]:
        """The whole frames of a stage, not augmented, one loader per source: what a store of results is made from."""
        return self._evaluation_loaders(self._cached(stage), "train")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """A CPU has the batch already; Lightning would look into every name of it, 0.05 ms a step."""
        return batch if device.type == "cpu" else cast("Batch", super().transfer_batch_to_device(batch, device, 0))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """8-bit planes become float32 in [0, 1] here, after they crossed to the device as bytes."""
        return batch_to_float(batch)

    def known_prompts(self, stage: str) -> set[str]:
        """The prompts of a stage that are known before a picture is read; in training also those that turns make."""
        known = known_prompts(self.stage_readers(stage))
        return pipelines.training_prompts(self.transforms, known) if stage == "train" else known

    def warn_of_leaks(self, stage: str, scores_detection: bool) -> bool:
        """Warns when a test's prompts come from its boxes while detection is scored; returns whether it did."""
        return warn_of_leaks(self.stage_readers(stage), stage, scores_detection=scores_detection)

    def skip_predictions(self, finished: Callable[[str, str, bool], bool]) -> int:
        """Leaves out of `predict` the pairs whose result exists, and returns how many.

        Args:
            finished: (dataset, name, whether several datasets are predicted) -> whether the result is there.
        """
        readers = self.stage_readers(self.predict_stage)
        kept: list[Dataset[Sample]] = []
        for reader in readers:
            names: list[str] = list(reader.names)  # type: ignore[attr-defined]
            left = [name for name in names if not finished(dataset_of(reader), name, len(readers) > 1)]
            kept.append(reader if len(left) == len(names) else reader.select(left))  # type: ignore[attr-defined]
        skipped = sum(map(len, readers)) - sum(map(len, kept))  # type: ignore[arg-type]
        self._readers[self._drawn_from.get(self.predict_stage, self.predict_stage)] = kept
        return skipped

    def write_selections(self, folder: Path) -> None:
        """Writes the pairs that the stages used so far, as a manifest that reads back to exactly these."""
        used = [selection for selections in self.selections.values() for selection in selections]
        if used:
            write_expansion(folder / "used.yaml", used)

    def largest_batch(self, stage: str) -> BatchSize | None:
        """The largest batch of `train`, `val`, `test` or `predict` that this process gets; None without pairs."""
        readers = self.stage_readers(self.predict_stage if stage == "predict" else stage)
        shares = [self._sampler(len(reader)).indices for reader in readers]  # type: ignore[arg-type]
        pairs = self.loading.predict_batch if stage == "predict" else self.batch_size
        return largest_batch(stage, pairs, self.transforms, zip(readers, shares, strict=True))

    def _sampler(self, length: int) -> EvaluationSampler:
        in_fit = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        return EvaluationSampler(length, *self._place(), repeat=in_fit)

    def _evaluation_loaders(self, readers: Sequence[Dataset[Sample]], stage: str) -> list[DataLoader[Batch]]:
        transforms = replace(self.transforms, resize=self.transforms.frame_size(stage))
        together = self.loading.predict_batch if stage == "predict" else 1
        shown = self._with_fused(readers, transforms.resize)
        return [self._evaluation_loader(reader, transforms, together) for reader in shown]

    def _evaluation_loader(
        self, reader: Dataset[Sample], transforms: TransformConfig, together: int
    ) -> DataLoader[Batch]:
        view = EvaluationView(reader, pipelines.evaluation(transforms, self.box_rule()))
        sampler = self._sampler(len(view))
        if together > 1:
            return self._loader(SameSizeGroups(view, reader, sampler.indices, together), 1, None)
        return self._loader(view, self.batch_size if transforms.resize else 1, sampler)

    def _loader(self, dataset: Dataset[Any], batch_size: int, sampler: Any, **collating: Any) -> DataLoader[Batch]:
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_of(dataset, batch_size, sampler, self.loading.num_workers, pinned, **collating)
