"""The detection task: what it trains, what it refuses, what evaluation uses."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import save_file

from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.contracts.batch import Batch, batch_to_float, collate
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.image_ops.precision import single_precision
from ivif.lightning_modules import detector_training
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.models.detection import DetectorConfig, build_detector
from ivif.models.detection.yolov5 import YOLOv5Detector
from ivif.scenes import CLASSES
from ivif.testing.batches import quiet_trainer

SIZE = (64, 96)
TINY = DetectorConfig(image_size=None)
FAST = WarmupDecayConfig(start=1e-3, peak=1e-3, end=1e-3, warmup_fraction=0.0)


def _data(train: int = 8, batch_size: int = 4) -> SyntheticDataModule:
    return SyntheticDataModule(
        train_length=train,
        evaluation_length=2,
        size=SIZE,
        loading=LoadingConfig(batch_size=batch_size, num_workers=0),
        transforms=TransformConfig(crop=None, flip=False, rotate90=False, resize=SIZE),
    )


def _batch(count: int = 2) -> Batch:
    scenes = SyntheticDataset(count, SIZE)
    return batch_to_float(collate([scenes[index] for index in range(count)]))


def _task(**options: Any) -> DetectionTask:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"classes": CLASSES, "detector": TINY}
    return DetectionTask(**(defaults | options))


@pytest.fixture(scope="module")
def task() -> DetectionTask:
    return _task()


def test_evaluation_gives_the_picture_and_detections_in_its_pixels(task: DetectionTask) -> None:
    task.eval()
    batch = _batch()
    output = task.validation_step(batch, 0)
    assert torch.equal(output["fused"], batch["visible"])
    assert len(output["detections"]) == 2
    for found in output["detections"]:
        assert found["boxes"].shape == (len(found["scores"]), 4)
        assert found["labels"].max() < len(CLASSES)
        assert found["boxes"].dtype == torch.float32
    assert task.scores_detection
    assert task.class_names == CLASSES


def test_training_lowers_the_loss_and_the_checkpoint_finds_the_same(tmp_path: Path) -> None:
    task, batch = _task(optimizer=AdamConfig(weight_decay=5e-4, gradient_clip=10.0), schedule=FAST), _batch(4)
    before = sum(term.detach() for term in task.losses(task.fuse_images(batch), batch).values())
    trainer = quiet_trainer(tmp_path, max_steps=30, limit_val_batches=0)
    trainer.fit(task, _data(4))
    after = sum(term.detach() for term in task.losses(task.fuse_images(batch), batch).values())
    assert after < 0.8 * before
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    again = DetectionTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True, map_location="cpu")
    task.eval(), again.eval()
    for one, other in zip(task.fuse(batch)["detections"], again.fuse(batch)["detections"], strict=True):
        assert len(one["scores"]) > 0
        assert torch.equal(one["boxes"], other["boxes"])
        assert torch.equal(one["scores"], other["scores"])


def test_a_checkpoint_needs_no_starting_weights(task: DetectionTask) -> None:
    assert task.hparams["detector"]["weights"] is None
    assert task.hparams["classes"] == list(CLASSES)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of 80 classes, whose class branch is wider than that of a few."""
    path = tmp_path_factory.mktemp("weights") / "wide.safetensors"
    state = build_detector(TINY, [f"class {index}" for index in range(80)]).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def test_a_head_as_wide_as_the_weights_was_trains_loads_and_resumes_without_them(wide: Path, tmp_path: Path) -> None:
    detector = replace(TINY, weights=wide)
    task = _task(detector=detector, training=DetectorTrainingConfig(freeze=("model.model.24.cv3.1.",)))
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(task, _data(4))
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    assert task.part.detector.state_dict()["model.model.24.cv3.0.0.conv.weight"].shape[0] == 80
    loaded = DetectionTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True, map_location="cpu").eval()
    found, again = (each.fuse(_batch())["detections"] for each in (task.eval(), loaded))
    assert len(found[0]["scores"]) > 0
    assert all(torch.equal(one["scores"], two["scores"]) for one, two in zip(found, again, strict=True))
    frozen = {name for name, own in loaded.part.detector.named_parameters() if not own.requires_grad}
    assert frozen == {name for name, own in task.part.detector.named_parameters() if not own.requires_grad}
    resumed = _task(training=DetectorTrainingConfig(freeze=("model.model.24.cv3.1.",)))
    trainer = quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0)
    trainer.fit(resumed, _data(4), ckpt_path=tmp_path / "task.ckpt", weights_only=True)
    before = torch.load(tmp_path / "task.ckpt", weights_only=True)["state_dict"]
    after = resumed.state_dict()
    changed = "part.detector.model.model.24.cv3.0.0.conv.weight"
    assert after[changed].shape == before[changed].shape
    assert not torch.equal(after[changed], before[changed])  # its optimiser holds the wide branch


def test_a_narrow_checkpoint_fits_where_the_weights_are_wide(wide: Path) -> None:
    """As checkpoints have it that were written before heads took the width of their weights."""
    old, task = _task(), _task(detector=replace(TINY, weights=wide))
    checkpoint: dict[str, Any] = {"state_dict": old.state_dict()}
    old.on_save_checkpoint(checkpoint)
    task.on_load_checkpoint(checkpoint)
    task.load_state_dict(checkpoint["state_dict"])
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in task.state_dict().items())


def test_evaluation_uses_the_average_and_training_the_detector(tmp_path: Path) -> None:
    task = _task()
    task.eval()
    batch = _batch()
    assert task.part.average is not None
    before = task.fuse(batch)["detections"][0]["scores"]
    with torch.no_grad():
        for parameter in task.part.detector.parameters():
            parameter.zero_()
    assert torch.equal(task.fuse(batch)["detections"][0]["scores"], before)
    task.part.update_average()  # the first update copies
    after = task.fuse(batch)["detections"][0]["scores"]
    assert not torch.equal(after[:5], before[:5])


def test_the_average_follows_every_optimiser_step_and_no_other_batch(tmp_path: Path) -> None:
    task = _task(schedule=FAST)
    quiet_trainer(tmp_path, max_epochs=2, limit_val_batches=0, accumulate_grad_batches=2).fit(task, _data(8, 2))
    assert task.part.average is not None
    assert int(task.part.average.n_averaged) == 4


def test_without_an_average_the_detector_itself_answers() -> None:
    task = _task(training=DetectorTrainingConfig(average_decay=0.0))
    task.eval()
    assert task.part.average is None
    assert not [name for name in task.state_dict() if "average" in name]
    assert len(task.fuse(_batch())["detections"]) == 2


def test_the_optimiser_leaves_the_average_alone_and_spares_norms(tmp_path: Path) -> None:
    task = _task()
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(task, _data(4))
    decayed, spared = trainer.optimizers[0].param_groups
    trained = {id(parameter) for parameter in task.part.detector.parameters() if parameter.requires_grad}
    assert {id(parameter) for group in (decayed, spared) for parameter in group["params"]} == trained
    assert decayed["weight_decay"] == 5e-4
    assert spared["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim <= 1 for parameter in spared["params"])


def test_frozen_layers_and_their_statistics_stay(tmp_path: Path) -> None:
    detector = _task().part.detector
    first = next(name for name, parameter in detector.named_parameters() if parameter.requires_grad)
    beginning = ".".join(first.split(".")[:-2]) + "."
    task = _task(training=DetectorTrainingConfig(freeze=(beginning,)), schedule=FAST)
    before = {name: value.clone() for name, value in task.part.detector.state_dict().items()}
    quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(task, _data(4))
    after = task.part.detector.state_dict()
    kept = [name for name in before if name.startswith(beginning)]
    assert len(kept) > 1
    assert all(torch.equal(before[name], after[name]) for name in kept)
    others = [name for name in before if not name.startswith(beginning)]
    assert any(not torch.equal(before[name], after[name]) for name in others)
    with pytest.raises(ValueError, match=r"begins with 'backbone\.99'"):
        _task(training=DetectorTrainingConfig(freeze=("backbone.99",)))


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(tmp_path: Path) -> None:
    task = _task(training=DetectorTrainingConfig(freeze_batch_norm=True), schedule=FAST)
    before = {name: value.clone() for name, value in task.part.detector.state_dict().items()}
    quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(task, _data(4))
    after = task.part.detector.state_dict()
    statistics = [name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    norms = [name.replace("running_mean", "weight") for name in statistics if name.endswith("running_mean")]
    assert any(not torch.equal(before[name], after[name]) for name in norms)


@pytest.mark.parametrize("classes", [None, (), []])
def test_no_classes_are_refused(classes: Any) -> None:
    with pytest.raises(ValueError, match="names of its classes"):
        _task(classes=classes)


def test_a_batch_without_boxes_names_the_option(task: DetectionTask) -> None:
    batch = _batch()
    del batch["targets"]
    with pytest.raises(ValueError, match=r"data\.reading\.labels"):
        task.losses(batch["visible"], batch)
    assert ReadingConfig().labels


def test_labels_beyond_the_classes_name_the_pair(tmp_path: Path) -> None:
    data = _data(batch_size=2)
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    names, labels = batch["name"], [sorted(set(target["labels"].tolist())) for target in batch["targets"]]
    wrong = next(index for index, own in enumerate(labels) if own and own[-1] > 0)
    message = f"synthetic/{names[wrong]} has the labels {labels[wrong]}, but the detector knows 1 classes (person)."
    with pytest.raises(ValueError, match=re.escape(message)):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(_task(classes=CLASSES[:1]), data)


def test_a_batch_without_objects_trains(task: DetectionTask) -> None:
    batch = _batch()
    for target in batch["targets"]:
        target["boxes"], target["labels"] = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    task.train()
    terms = task.losses(batch["visible"], batch)
    assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9 names the setting otherwise")
def test_answers_are_computed_without_tensorfloat(task: DetectionTask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    convolution: Any = vars(torch.backends)["cudnn"].conv  # which its stubs lack

    def predict(*_: Any) -> list[Any]:
        seen.append(convolution.fp32_precision)
        return []

    monkeypatch.setattr(detector_training, "single_precision", lambda _: single_precision(torch.device("cuda")))
    monkeypatch.setattr(YOLOv5Detector, "predict", predict)
    before = convolution.fp32_precision
    task.part.detect(torch.zeros(1, 3, 64, 64))
    assert seen == ["ieee"]
    assert convolution.fp32_precision == before != "ieee"


def test_half_precision_trains_and_detects_in_single(tmp_path: Path) -> None:
    task = _task(schedule=FAST)
    before = [parameter.detach().clone() for parameter in task.part.detector.parameters()]
    quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0, precision="bf16-mixed").fit(task, _data(4))
    now = list(task.part.detector.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in now)
    assert any(not torch.equal(old, new) for old, new in zip(before, now, strict=True))
    task.eval()
    single = task.fuse(_batch())["detections"]
    with torch.autocast("cpu", torch.bfloat16):
        half = task.fuse(_batch())["detections"]
    assert torch.equal(single[0]["boxes"], half[0]["boxes"])
    assert half[0]["boxes"].dtype == torch.float32


class _StopError(Exception):
    """Stands for whatever ends a process."""


class _Stop(Callback):
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 3:
            raise _StopError


def _fit(folder: Path, callbacks: list[Callback], resume: Path | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    task = DetectionTask(CLASSES, DetectionSource("maximum"), TINY, schedule=FAST)
    trainer = quiet_trainer(
        folder, max_epochs=2, enable_checkpointing=True, callbacks=[*callbacks, RunCheckpoint(every_n_train_steps=1)]
    )
    trainer.fit(task, _data(8, 4), ckpt_path=resume, weights_only=True)
    return task.state_dict()


def test_resumed_equals_undisturbed_bit_for_bit(tmp_path: Path) -> None:
    complete = _fit(tmp_path / "complete", [])
    with pytest.raises(_StopError):
        _fit(tmp_path / "stopped", [_Stop()])
    again = _fit(tmp_path / "resumed", [], tmp_path / "stopped" / "checkpoints" / "last.ckpt")
    assert complete["part.average.n_averaged"] == 4
    for name, value in complete.items():
        assert torch.equal(value, again[name]), name


@pytest.fixture(autouse=True)
def _no_gradients_left(task: DetectionTask) -> Iterator[None]:
    yield
    task.zero_grad()
