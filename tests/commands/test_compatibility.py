"""What task, data and trainer must agree on."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer

from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.train.compatibility import class_names, provide, watch_what_is_logged
from ivif.datamodules.configuration import TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.previous_results import PreviousResults
from ivif.lightning_modules.text_to_pixels import TextToPixelsLoss, TextToPixelsTask
from ivif.models.text_to_pixels import TextToPixelsConfig

TINY = TextToPixelsConfig(channels=4, dilations=(1,), features=8, width=16, heads=2, blocks=1, codebook_entries=8)


def _checkpoint(folder: Path, classes: list[str]) -> Path:
    torch.save({"hyper_parameters": {"classes": classes}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_classes_come_from_the_data_or_the_trained_detector(tmp_path: Path) -> None:
    data = SyntheticDataModule()
    assert class_names(data, None) == list(data.classes)
    assert class_names(data, _checkpoint(tmp_path, list(data.classes))) == list(data.classes)


def test_other_classes_are_refused_where_they_are_scored(tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path, ["ship"])
    with pytest.raises(UsageError, match="detects ship, but the data has the classes"):
        class_names(SyntheticDataModule(), checkpoint)
    assert class_names(SyntheticDataModule(), checkpoint, scored=False) == ["ship"]


def test_a_task_of_crops_gets_the_saliency_of_whole_frames() -> None:
    task = TextToPixelsTask(clip=None, network=TINY, detector=None)
    cropped, whole = SyntheticDataModule(), SyntheticDataModule(transforms=TransformConfig(crop=None))
    provide(task, cropped, None)
    provide(task, whole, None)
    assert cropped.transforms.saliency
    assert not whole.transforms.saliency


def test_memory_gets_a_store_that_the_task_writes(tmp_path: Path) -> None:
    memory = TextToPixelsTask(clip=None, network=TINY, detector=None, loss=TextToPixelsLoss(previous="memory"))
    data, chosen = SyntheticDataModule(), SyntheticDataModule(previous_dir=tmp_path / "mine")
    provide(memory, data, None)
    assert data.previous_dir is None
    for each, folder in ((data, tmp_path / "previous"), (chosen, tmp_path / "mine")):
        provide(memory, each, tmp_path / "previous")
        memory.trainer = SimpleNamespace(datamodule=each)  # type: ignore[assignment]
        (callback,) = memory.configure_callbacks()
        assert isinstance(callback, PreviousResults)
        assert callback.folder == each.previous_dir == folder
    plain, untouched = TextToPixelsTask(clip=None, network=TINY, detector=None), SyntheticDataModule()
    plain.trainer = memory.trainer
    provide(plain, untouched, tmp_path / "previous")
    assert (untouched.previous_dir, plain.configure_callbacks()) == (None, [])


def test_map_is_watched_only_where_something_is_detected(tmp_path: Path) -> None:
    for task, expected in (
        (TextToPixelsTask(clip=None, network=TINY, detector=None), None),
        (TextToPixelsTask(clip=None, network=TINY, classes=["person"]), "val/mAP50_95"),
    ):
        trainer = Trainer(accelerator="cpu", logger=False, callbacks=[RunCheckpoint(monitor="val/mAP50_95")])
        watch_what_is_logged(task, trainer)
        assert trainer.checkpoint_callback is not None
        assert trainer.checkpoint_callback.monitor == expected  # type: ignore[attr-defined]
        assert f"'monitor': {expected!r}" in trainer.checkpoint_callback.state_key


def test_classes_are_not_set_by_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ["fit", "--config=detection.yaml", "--data=synthetic.yaml", "--model.init_args.classes=[ship]"]
    assert main([*line, f"--runs_dir={tmp_path}"]) == 1
    assert "the classes are those of the data" in capsys.readouterr().err
