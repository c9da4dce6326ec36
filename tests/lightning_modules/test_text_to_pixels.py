"""From Text to Pixels as a task: gradients by scheme, words, the result of the epoch before, checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from ivif.bilevel import BilevelConfig, LevelLoss
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.contracts.batch import Batch, Targets
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.text_to_pixels import TextToPixelsLoss, TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.layers.frozen import CheckpointMismatchError
from ivif.models.layers.quantizer import VectorQuantizer
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing import ProcessTests, TaskTests
from ivif.testing.batches import make_batch, quiet_trainer

TINY = TextToPixelsConfig(
    channels=4, dilations=(1,), features=8, width=16, heads=2, blocks=1, codebook_entries=8, decoder_channels=(8,)
)
BY_STEPS = BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1)


def _task(scheme: str = "value_function", **changes: Any) -> TextToPixelsTask:
    torch.manual_seed(7)
    options: dict[str, Any] = {
        "clip": "random-tiny",
        "network": TINY,
        "detector": DetectorConfig("yolov5n", image_size=None),
        "training": DetectorTrainingConfig(average_ramp=4.0),
        "bilevel": replace(BY_STEPS, scheme=scheme),
        "crops": CropConfig(32, 2),
        "classes": SyntheticDataModule().classes,
    }
    return TextToPixelsTask(**(options | changes))


def _data() -> SyntheticDataModule:
    return SyntheticDataModule(
        train_length=4,
        evaluation_length=1,
        size=(64, 64),
        loading=LoadingConfig(batch_size=2, num_workers=0),
        transforms=TransformConfig(crop=None, resize=(64, 64), flip=True, rotate90=False),
        prompts=PromptConfig("fine"),
    )


def _fit(folder: Path, task: TextToPixelsTask, resume: Path | None = None, **options: Any) -> Trainer:
    trainer = quiet_trainer(folder, **({"max_epochs": 2, "limit_val_batches": 0} | options))
    trainer.fit(task, _data(), ckpt_path=resume, weights_only=True)
    return trainer


def _frames(prompts: list[str] | None = None, size: tuple[int, int] = (64, 64), count: int = 2) -> Batch:
    batch = make_batch(count, size)
    targets: list[Targets] = [
        {"boxes": torch.tensor([[8.0, 8, 40, 56]]), "labels": torch.tensor([0])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    batch["targets"] = targets[:count]
    if prompts is not None:
        batch["prompt"] = prompts
    return batch


def _seen_by_fusion(task: TextToPixelsTask, folder: Path) -> list[dict[str, float]]:
    """Largest gradient in fusion by level, at every step of the lower level's optimiser."""
    seen: list[dict[str, float]] = []
    original = task.level_loss

    def recorded(level: str, batch: LevelBatch) -> LevelLoss:
        loss = original(level, batch)
        if level == "upper" and loss.value.requires_grad:
            reached = (
                torch.autograd.grad(loss.value, list(task.network.parameters()), retain_graph=True, allow_unused=True)
                if any(p.requires_grad for p in task.network.parameters())
                else []
            )
            seen.append({"fusion": max((g.abs().max().item() for g in reached if g is not None), default=0.0)})
        return loss

    task.level_loss = recorded  # type: ignore[method-assign]
    _fit(folder, task, max_epochs=1)
    return seen


class TestTask(TaskTests):
    not_always_reached = ("part.detector.",)  # the box branch of a scale that no object is assigned to

    def task(self) -> TextToPixelsTask:
        return _task()

    def batch(self, count: int = 2, size: tuple[int, int] = (64, 64)) -> Batch:
        """One pair without words, where there are two: the null token stands for them."""
        return _frames(["a street at night", " "][:count], size, count)

    def data(self) -> SyntheticDataModule:
        return _data()


@pytest.mark.slow
class TestProcesses(ProcessTests):
    def steady_task(self) -> TextToPixelsTask:
        """Whole frames, and no k-means: it depends on the vectors' order."""
        network = replace(TINY, codebook_update="ema")
        task = _task(network=network, crops=CropConfig(None), bilevel=BilevelConfig(unit="step", warmup=1))
        for module in task.modules():
            if isinstance(module, VectorQuantizer):
                module.started.fill_(True)
        return task


@pytest.mark.parametrize(("scheme", "reaches"), [("joint", True), ("value_function", True), ("alternate", False)])
def test_the_detection_loss_reaches_fusion_only_where_it_should(scheme: str, reaches: bool, tmp_path: Path) -> None:
    seen = _seen_by_fusion(_task(scheme), tmp_path)
    assert len(seen) == 2
    assert all((entry["fusion"] > 0) == reaches for entry in seen)


def test_words_change_the_image_and_a_blank_prompt_is_the_null_token() -> None:
    task = _task(detector=None).eval()
    with torch.no_grad():
        for name, parameter in task.network.named_parameters():
            if "cross" in name:
                parameter.mul_(20)  # an untrained network hardly listens
        street, people = (task.fuse(_frames([text] * 2))["fused_luma"] for text in ("a dark street", "two people near"))
        blank, absent = task.fuse(_frames([" "] * 2))["fused_luma"], task.fuse(_frames())["fused_luma"]
    assert (street - people).abs().max() > 1e-6
    assert (blank - street).abs().max() > 1e-6
    assert torch.equal(blank, absent)


def test_without_clip_no_text_is_read() -> None:
    task = _task(clip=None, detector=None).eval()
    with torch.no_grad():
        assert torch.equal(task.fuse(_frames(["one", "two"]))["fused"], task.fuse(_frames())["fused"])
    assert not any("prompts" in name for name in task.state_dict())


def test_the_teacher_is_the_network_of_the_epoch_before(tmp_path: Path) -> None:
    task = _task("joint")
    states: list[dict[str, Tensor]] = []

    class _Copies(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            states.append({name: value.clone() for name, value in task.network.state_dict().items()})

    _fit(tmp_path, task, callbacks=[_Copies()])
    assert task.teacher is not None
    last = task.teacher.network.state_dict()
    assert all(torch.equal(value, last[name]) for name, value in task.network.state_dict().items())
    assert any(not torch.equal(value, last[name]) for name, value in states[1].items())
    assert int(task.teacher.count) == 2


@pytest.mark.parametrize(("warmup", "followed"), [(0, "value"), (10, "lower")])
def test_both_fusion_networks_are_held_to_what_no_detector_has_moved(
    warmup: int, followed: str, tmp_path: Path
) -> None:
    task = _task(bilevel=replace(BY_STEPS, warmup=warmup))
    _fit(tmp_path, task, max_epochs=1)
    assert task.teacher is not None
    kept, modules = task.teacher.network.state_dict(), task.level_modules()
    same = {
        level: all(torch.equal(value, kept[name]) for name, value in modules[level].state_dict().items())
        for level in ("lower", "value")
    }
    assert same == {"lower": followed == "lower", "value": followed == "value"}


def test_stored_results_are_those_of_the_same_network(tmp_path: Path) -> None:
    task = _task(loss=TextToPixelsLoss(previous="memory"))
    trainer = quiet_trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    data = _data()
    data.previous_dir = tmp_path / "previous"
    trainer.fit(task, data)
    frames = next(iter(data.frame_loaders("train")[0]))
    frames = data.on_after_batch_transfer(frames, 0)
    stored = Image.open(tmp_path / "previous" / "synthetic" / f"{frames['name'][0]}.png")
    with torch.no_grad():
        drawn = {
            level: task.fused_luma(task.level_modules()[level].eval(), frames)[0, 0] for level in ("lower", "value")
        }
    off = {level: (torch.from_numpy(np.array(stored)) - 255 * luma).abs().max() for level, luma in drawn.items()}
    assert off["value"] <= 1 < off["lower"]


def test_the_structure_loss_starts_with_the_second_epoch(tmp_path: Path) -> None:
    task = _task()
    names: list[set[str]] = []

    class _Terms(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            names.append({name for name in task._terms if name.startswith("train/lower")})

    _fit(tmp_path, task, callbacks=[_Terms()])
    assert ["train/lower/structure" in seen for seen in names] == [False, False, True, True]


def test_without_content_the_first_epoch_keeps_it() -> None:
    task = _task(loss=TextToPixelsLoss(content=0.0), detector=None)
    first = task.level_loss("lower", task.level_batch(_frames()))
    assert first.terms["content"] > 0
    assert torch.isclose(first.value, first.terms["content"] + first.terms["codebook"])
    assert task.teacher is not None
    task.teacher.take(task.network)
    later = task.level_loss("lower", task.level_batch(_frames()))
    assert torch.isclose(later.value, later.terms["structure"] + later.terms["codebook"])


def test_memory_takes_the_result_that_the_batch_brings() -> None:
    task = _task(loss=TextToPixelsLoss(previous="memory"), detector=None)
    frames = _frames()
    frames["previous"] = torch.rand(2, 1, 64, 64)
    pieces = task.level_batch(frames).crops
    assert pieces["previous"].shape == (4, 1, 32, 32)
    assert task.teacher is None


def test_an_epoch_without_stored_results_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(loss=TextToPixelsLoss(previous="memory"), detector=None)
    said: list[int] = []
    monkeypatch.setattr("ivif.lightning_modules.text_to_pixels.logger.warning", lambda _, epoch: said.append(epoch))
    for epoch in (0, 1, 1, 2):
        monkeypatch.setattr(type(task), "current_epoch", epoch)
        task.level_batch(_frames())
    assert said == [1, 2]


def test_crops_cut_every_plane_alike_and_know_their_owner() -> None:
    frames = _frames(["one", "two"])
    frames["previous"] = frames["infrared"].clone()
    pieces = CropConfig(32, 3).cut(frames)
    assert torch.equal(pieces["previous"], pieces["infrared"])
    assert pieces["prompt"] == ["one"] * 3 + ["two"] * 3
    assert pieces["saliency"].shape == (6, 2, 32, 32)
    assert "targets" not in pieces
    whole = CropConfig(None).cut(frames)
    assert torch.equal(whole["infrared"], frames["infrared"])


def test_crops_lie_anywhere_in_their_frame() -> None:
    frames = _frames()
    height, width = frames["infrared"].shape[-2:]
    places = torch.arange(height * width).view(1, 1, height, width).expand(2, 1, -1, -1)
    frames["infrared"] = places.double()
    torch.manual_seed(0)
    corners = CropConfig(16, 50).cut(frames, saliency=False)["infrared"][:, 0, 0, 0].long()
    tops, lefts = ({*(corners // width).tolist()}, {*(corners % width).tolist()})
    assert len(tops) > (height - 15) // 2
    assert len(lefts) > (width - 15) // 2
    assert max(tops) <= height - 16
    assert max(lefts) <= width - 16


def test_detections_come_with_every_output(tmp_path: Path) -> None:
    task = _task().eval()
    output = task.fuse(_frames())
    assert len(output["detections"]) == 2
    assert output["detections"][0]["boxes"].shape[1] == 4
    assert "detections" not in _task(detector=None).eval().fuse(_frames())


class _StopError(Exception):
    """Stands for whatever ends a process."""


class _Stop(Callback):
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 3:
            raise _StopError


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["value_function", "joint"])
def test_resumed_equals_undisturbed_bit_for_bit(scheme: str, tmp_path: Path) -> None:
    every = RunCheckpoint(every_n_train_steps=1)
    complete = _task(scheme)
    _fit(tmp_path / "complete", complete, callbacks=[RunCheckpoint(every_n_train_steps=1)], enable_checkpointing=True)
    with pytest.raises(_StopError):
        _fit(tmp_path / "stopped", _task(scheme), callbacks=[_Stop(), every], enable_checkpointing=True)
    resumed = _task(scheme)
    checkpoint = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    _fit(tmp_path / "again", resumed, checkpoint, callbacks=[RunCheckpoint()], enable_checkpointing=True)
    for name, value in complete.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"structure": -1.0}, "must not be negative"),
        ({"content": 0.0, "structure": 0.0}, "without the content term"),
        ({"previous": "yesterday"}, "loss.previous is 'yesterday'"),
    ],
)
def test_wrong_losses_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TextToPixelsLoss(**change)


def test_a_detector_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="names of its classes"):
        _task(classes=None)


def test_teacher_and_memory_agree_to_a_grey_level(tmp_path: Path) -> None:
    """Both give the result of the epoch's last network, in eval mode, on the same whole frame."""
    task = _task(detector=None, crops=CropConfig(None))
    task.network.train()
    task.fuse_images(_frames())  # statistics of BatchNorm that differ from a batch's own
    task.eval()
    assert task.teacher is not None
    task.teacher.take(task.network)
    frames = _frames()
    stored = (task.fuse_images(frames) * 255).round() / 255  # what `ivif.lightning_modules.previous_results` keeps
    recomputed = task.train().level_batch(frames).crops["previous"]
    assert (stored - recomputed).abs().max() <= 0.5 / 255 + 1e-5


def test_a_network_of_one_scheme_is_tested_under_another(tmp_path: Path) -> None:
    trained, other = _task("joint"), _task("value_function")
    trainer = _fit(tmp_path, trained, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    state = torch.load(tmp_path / "task.ckpt", weights_only=True)["state_dict"]
    other.load_state_dict(state)
    batch = _frames(["a street", "a car"])
    assert torch.equal(trained.eval().fuse(batch)["fused"], other.eval().fuse(batch)["fused"])
    with pytest.raises(CheckpointMismatchError, match="value_network"):
        quiet_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(
            _task("value_function"), _data(), ckpt_path=tmp_path / "task.ckpt", weights_only=True
        )


def test_labels_beyond_the_classes_end_the_run_with_the_pairs_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"synthetic/\w+ has the labels \[.*\], but the detector knows 1 classes"):
        _fit(tmp_path, _task(classes=SyntheticDataModule().classes[:1]))
