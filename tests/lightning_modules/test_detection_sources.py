"""What a detector sees: each kind of source, and which files are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ivif.image_ops.color import luma
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.lightning_modules.declaration import DataNeeds
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import (
    SOURCES,
    DetectionSource,
    FrozenFusion,
    FusionCheckpointError,
    build_source,
    load_fusion,
)
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.classic import CLASSIC_FUSIONS
from ivif.models.detection import DetectorConfig
from ivif.models.layers.frozen import FrozenPartMismatchError
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.batches import MadeData, make_batch, quiet_trainer


def _save(task: FusionTask, folder: Path, name: str = "fusion.ckpt") -> Path:
    """The checkpoint of a task, without a step of training."""
    trainer = quiet_trainer(folder, max_steps=1, limit_train_batches=0)
    trainer.strategy.connect(task)
    task.trainer = trainer
    trainer.save_checkpoint(folder / name, weights_only=True)
    return folder / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[MGFusionTask, Path]:
    folder = tmp_path_factory.mktemp("fusion")
    torch.manual_seed(3)
    task = MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    trainer = quiet_trainer(folder, max_steps=2, limit_val_batches=0)
    trainer.fit(task, MadeData())
    trainer.save_checkpoint(folder / "fusion.ckpt")
    return task.eval(), folder / "fusion.ckpt"


def _edited(path: Path, folder: Path, **changes: Any) -> Path:
    checkpoint = torch.load(path, weights_only=True) | changes
    torch.save(checkpoint, folder / "edited.ckpt")
    return folder / "edited.ckpt"


def test_one_modality_is_itself_in_three_channels() -> None:
    batch = make_batch()
    infrared = build_source(DetectionSource("infrared"))(batch)
    assert infrared.shape == (2, 3, 24, 32)
    assert all(torch.equal(infrared[:, channel : channel + 1], batch["infrared"]) for channel in range(3))
    assert torch.equal(build_source(DetectionSource("visible"))(batch), batch["visible"])


@pytest.mark.parametrize("rule", CLASSIC_FUSIONS)
def test_classic_rules_keep_the_visible_colours(rule: str) -> None:
    batch = make_batch()
    picture = build_source(DetectionSource(rule))(batch)
    expected = ClassicFusionTask(rule).fuse(batch)["fused"]  # type: ignore[arg-type]
    assert torch.equal(picture, expected)
    assert not torch.equal(picture[:, 0], picture[:, 2])


def test_a_checkpoint_fuses_as_its_task_does(trained: tuple[MGFusionTask, Path]) -> None:
    task, path = trained
    batch = make_batch()
    source = build_source(DetectionSource("checkpoint", path))
    picture = source(batch)
    with torch.no_grad():
        assert torch.equal(picture, task.fuse(batch)["fused"])
    assert not picture.requires_grad
    assert isinstance(source, FrozenFusion)
    assert not any(module.training for module in source.train().modules())
    assert not any(parameter.requires_grad for parameter in source.parameters())


def _with_statistics() -> TextToPixelsTask:
    """A task whose network and detector have BatchNorm and a codebook, which calls in training mode would change."""
    torch.manual_seed(5)
    network = TextToPixelsConfig(4, (1,), 8, width=16, heads=2, blocks=1, codebook_entries=8, decoder_channels=(8,))
    detector = DetectorConfig("yolov5n", image_size=None)
    return TextToPixelsTask("random-tiny", network, detector=detector, classes=["person"])


def test_what_is_loaded_for_use_is_in_eval_mode_and_stays_as_it_is(tmp_path: Path) -> None:
    task = _with_statistics()
    assert any(isinstance(module, _BatchNorm) for module in task.network.modules())
    batch = make_batch(size=(64, 64))
    batch["prompt"] = ["a street at night", "two people"]
    loaded, _ = load_fusion(_save(task, tmp_path))
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    assert not any(module.training for module in loaded.modules())
    with torch.no_grad():
        first, second = loaded.fuse(batch)["fused"], loaded.fuse(batch)["fused"]
        assert torch.equal(first, task.eval().fuse(batch)["fused"])
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in loaded.state_dict().items())


def test_the_fusion_stays_out_of_checkpoints_by_identity(trained: tuple[MGFusionTask, Path], tmp_path: Path) -> None:
    _, path = trained
    source = DetectionSource("checkpoint", path)
    detector = DetectorConfig(image_size=None)
    task = DetectionTask(["person"], source, detector)
    assert not [name for name in task.state_dict() if name.startswith("source")]
    saved = _save(task, tmp_path)
    identity = torch.load(saved, weights_only=True)["frozen_parts"]["source"]
    assert identity.startswith("ivif.lightning_modules.mgfusion.MGFusionTask@")
    again = DetectionTask.load_from_checkpoint(saved, weights_only=True, map_location="cpu")
    assert torch.equal(again.fuse_images(make_batch()), task.fuse_images(make_batch()))
    state = torch.load(path, weights_only=True)["state_dict"]
    other = _edited(path, tmp_path, state_dict={name: value * 1.01 for name, value in state.items()})
    changed = DetectionTask(["person"], DetectionSource("checkpoint", other), detector)
    with pytest.raises(FrozenPartMismatchError, match="MGFusionTask@"):
        changed.on_load_checkpoint(torch.load(saved, weights_only=True))


def test_the_frozen_fusions_encoder_asks_for_its_views(trained: tuple[MGFusionTask, Path]) -> None:
    task = DetectionTask(["person"], DetectionSource("checkpoint", trained[1]), DetectorConfig(image_size=None))
    assert task.data_needs == DataNeeds()
    assert isinstance(task.source, FrozenFusion)
    fusion: Any = task.source.task
    fusion.clip_view = "full"
    assert task.data_needs == DataNeeds(clip_size=fusion.encoder.image_size)
    assert DetectionTask(["person"], detector=DetectorConfig(image_size=None)).data_needs == DataNeeds()


def test_notes_on_how_to_build_the_class_are_not_followed(trained: tuple[MGFusionTask, Path], tmp_path: Path) -> None:
    settings = torch.load(trained[1], weights_only=True)["hyper_parameters"]
    noted = settings | {"_class_path": "os.system", "_instantiator": "os.system"}
    task, _ = load_fusion(_edited(trained[1], tmp_path, hyper_parameters=noted))
    assert isinstance(task, MGFusionTask)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no task"),
        ("os.path.join", "a part of Python"),
        ("lightning.LightningModule", "IVIF_PLUGINS=lightning$"),
        ("lightning_modulesx.base.FusionTask", "IVIF_PLUGINS=lightning_modulesx.base$"),
    ],
)
def test_classes_of_others_are_refused(
    trained: tuple[MGFusionTask, Path], name: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(FusionCheckpointError, match=reason):
        load_fusion(_edited(trained[1], tmp_path, task=name))


@pytest.mark.parametrize(
    "name",
    [
        "ivif.lightning_modules.base.FusionTask",
        "ivif.lightning_modules.mgfusion.MGFusionWeights",
        "lightning_modules.gone.Task",
    ],
)
def test_what_is_no_task_of_ours_is_refused(trained: tuple[MGFusionTask, Path], name: str, tmp_path: Path) -> None:
    with pytest.raises(FusionCheckpointError, match="this version"):
        load_fusion(_edited(trained[1], tmp_path, task=name))


def test_files_that_are_no_checkpoint_are_refused(trained: tuple[MGFusionTask, Path], tmp_path: Path) -> None:
    with pytest.raises(FusionCheckpointError, match="no such file"):
        load_fusion(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(FusionCheckpointError, match=r"text\.ckpt: the file is damaged"):
        load_fusion(tmp_path / "text.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(FusionCheckpointError, match="no checkpoint of a run"):
        load_fusion(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "callbacks": DetectionSource()}, tmp_path / "code.ckpt")
    with pytest.raises(FusionCheckpointError, match="holds code"):
        load_fusion(tmp_path / "code.ckpt")
    unfit = _edited(trained[1], tmp_path, hyper_parameters={"chips": 1})
    with pytest.raises(FusionCheckpointError, match="MGFusionTask cannot be built"):
        load_fusion(unfit)


def test_stored_pictures_come_from_the_batch() -> None:
    batch = make_batch()
    source = build_source(DetectionSource("folder"))
    with pytest.raises(ValueError, match=r"--data\.fused_dir"):
        source(batch)
    batch["fused"] = batch["visible"] / 2
    assert torch.equal(luma(source(batch)), luma(batch["visible"]) / 2)


@pytest.mark.parametrize(
    ("kind", "checkpoint", "message"),
    [
        ("thermal", None, "known: infrared, visible, average"),
        ("checkpoint", None, r"needs source\.checkpoint"),
        ("average", Path("last.ckpt"), "reads no checkpoint"),
    ],
)
def test_contradictions_are_refused(kind: str, checkpoint: Path | None, message: str) -> None:
    assert "maximum" in SOURCES
    with pytest.raises(ValueError, match=message):
        DetectionSource(kind, checkpoint)
