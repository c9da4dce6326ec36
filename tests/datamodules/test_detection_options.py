"""What training a detector asks of a datamodule: classes, boxes, augmentation, stored pictures."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ivif.contracts.batch import Batch
from ivif.contracts.run_files import STORE_RECORD
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.datasets.boxes import DEFAULT_RULE
from ivif.datamodules.datasets.folder import FolderLayout
from ivif.datamodules.datasets.stored import StoredPlaneError
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.llvip import LLVIPDataModule
from ivif.datamodules.m3fd import M3FDDataModule
from ivif.datamodules.msrs import MSRSDataModule
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.datamodules.tno import TNODataModule
from ivif.datamodules.unified import UnifiedDataModule
from ivif.files.places import home
from tests.fakes import write_msrs, write_tno
from tests.real_data import REAL_DATA

NOWHERE = Path("nowhere")
STREET: dict[str, Any] = {"crop": None, "flip": "horizontal", "rotate90": False}
WITHOUT_BOXES = ReadingConfig(labels=False)


def _msrs(root: Path, workers: int = 0, transforms: TransformConfig | None = None, **options: Any) -> MSRSDataModule:
    if not (root / "msrs").exists():
        write_msrs(root / "msrs", count=12)
    loading = LoadingConfig(batch_size=2, num_workers=workers)
    return MSRSDataModule(
        root=root / "msrs", loading=loading, transforms=transforms or TransformConfig(**STREET), **options
    )


def _epoch(data: FusionDataModule, epoch: int = 0) -> list[Batch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader)


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (MSRSDataModule(root=NOWHERE), ("person", "bicycle", "car")),
        (MSRSDataModule(root=NOWHERE, reading=WITHOUT_BOXES), ()),
        (LLVIPDataModule(root=NOWHERE), ("person",)),
        (M3FDDataModule(root=NOWHERE), ("People", "Car", "Bus", "Lamp", "Motorcycle", "Truck")),
        (M3FDDataModule(root=NOWHERE, subset="fusion"), ()),
        (TNODataModule(root=NOWHERE), ()),
        (SyntheticDataModule(), ("person", "car", "bicycle", "lamp")),
        (FolderDataModule(root=NOWHERE, classes=["dog"], layout=FolderLayout(labels="boxes")), ("dog",)),
        (FolderDataModule(root=NOWHERE, classes=["dog"]), ()),
        (UnifiedDataModule(root=NOWHERE), ()),
        (UnifiedDataModule(root=NOWHERE, reading=ReadingConfig()), ()),
        (UnifiedDataModule(root=NOWHERE, reading=ReadingConfig(), datasets=["llvip", "tno"]), ("person",)),
        (UnifiedDataModule(root=NOWHERE, reading=ReadingConfig(), datasets=["m3fd_fusion"]), ()),
        (UnifiedDataModule(root=NOWHERE, reading=WITHOUT_BOXES, datasets=["llvip"]), ()),
    ],
)
def test_classes_are_known_before_a_file_is_opened(data: FusionDataModule, classes: tuple[str, ...]) -> None:
    assert data.classes == classes


def test_whether_there_are_boxes_is_seen_on_disk(tmp_path: Path) -> None:
    write_tno(tmp_path / "tno")
    assert _msrs(tmp_path).has_labels("test")
    assert not _msrs(tmp_path, reading=WITHOUT_BOXES).has_labels("test")
    assert not TNODataModule(root=tmp_path / "tno").has_labels("all")
    assert not TNODataModule(root=tmp_path / "tno", manifest="mgfusion").has_labels("train")


def test_transforms_keep_no_box_that_the_reader_would_drop(tmp_path: Path) -> None:
    assert _msrs(tmp_path).box_rule() == DEFAULT_RULE
    data = _msrs(tmp_path, transforms=TransformConfig(crop=16), reading=ReadingConfig(minimum_box_side=11.0))
    data.setup("fit")
    usual = _msrs(tmp_path, transforms=TransformConfig(crop=16))
    usual.setup("fit")
    few, more = ([len(t["boxes"]) for b in _epoch(each) for t in b["targets"]] for each in (data, usual))
    assert sum(few) < sum(more)
    assert UnifiedDataModule(root=NOWHERE, reading=ReadingConfig(minimum_box_side=5)).box_rule().minimum_side == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_augmentation_is_the_same_for_any_number_of_workers(workers: int, tmp_path: Path) -> None:
    transforms = TransformConfig(**STREET, zoom=(0.6, 1.5), mosaic=0.5, saliency=True, jitter=0.2)
    alone, shared = (_msrs(tmp_path, count, transforms) for count in (0, workers))
    alone.setup("fit")
    shared.setup("fit")
    batches = [(_epoch(alone, epoch), _epoch(shared, epoch)) for epoch in (0, 3)]
    for expected, found in batches:
        for first, second in zip(expected, found, strict=True):
            assert first["content_id"] == second["content_id"]
            for key in ("infrared", "visible", "saliency"):
                assert torch.equal(first[key], second[key])
            for own, theirs in zip(first["targets"], second["targets"], strict=True):
                assert torch.equal(own["boxes"], theirs["boxes"])
    assert batches[0][0][0]["content_id"] != batches[1][0][0]["content_id"]
    assert batches[0][0][0]["saliency"].shape == (2, 2, 40, 48)


def test_evaluation_is_not_augmented(tmp_path: Path) -> None:
    data = _msrs(tmp_path, transforms=TransformConfig(**STREET, zoom=(0.6, 0.7), mosaic=1.0, saliency=True))
    data.setup("test")
    batch = next(iter(data.test_dataloader()[0]))
    reader = data.stage_readers("test")[0]
    assert torch.equal(batch["visible"][0], reader[0]["visible"])
    assert "saliency" not in batch


def test_street_scenes_are_never_upside_down(tmp_path: Path) -> None:
    data = _msrs(tmp_path)
    data.setup("fit")
    originals = {sample["name"]: sample["visible"] for sample in data.stage_readers("train")[0]}  # type: ignore[attr-defined]
    mirrored = 0
    for epoch in range(4):
        for batch in _epoch(data, epoch):
            for name, visible in zip(batch["name"], batch["visible"], strict=True):
                assert torch.equal(visible, originals[name]) or torch.equal(visible, originals[name].flip(-1))
                mirrored += not torch.equal(visible, originals[name])
    assert mirrored > 3


def _write_pictures(data: FusionDataModule, folder: Path, stages: tuple[str, ...], level: int | None = None) -> None:
    for stage in stages:
        for reader in data.stage_readers(stage):
            for sample in (reader[index] for index in range(len(reader))):  # type: ignore[arg-type]
                pixels = sample["visible"].permute(1, 2, 0).numpy()
                picture = Image.fromarray(pixels if level is None else np.full_like(pixels, level))
                path = folder / sample["dataset"] / f"{sample['name']}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)


def test_fused_pictures_go_through_everything_with_their_pairs(tmp_path: Path) -> None:
    transforms = TransformConfig(**STREET, zoom=(0.6, 1.5), mosaic=0.5)
    data = _msrs(tmp_path, 1, transforms, fused_dir=tmp_path / "fused")
    _write_pictures(data, tmp_path / "fused", ("train", "val", "test"))
    data.setup("fit")
    data.setup("test")
    for batch in [*_epoch(data), *data.val_dataloader()[0], *data.test_dataloader()[0]]:
        assert torch.equal(batch["fused"], batch["visible"])
    assert data.on_after_batch_transfer(_epoch(data)[0], 0)["fused"].dtype == torch.float32


@pytest.mark.parametrize("stage", ["train", "val"])
def test_a_missing_fused_picture_ends_the_run_before_it_starts(stage: str, tmp_path: Path) -> None:
    data = _msrs(tmp_path, fused_dir=tmp_path / "fused")
    _write_pictures(data, tmp_path / "fused", ("train", "val"))
    gone = tmp_path / "fused" / "msrs" / f"{data.stage_readers(stage)[0].names[0]}.png"  # type: ignore[attr-defined]
    gone.unlink()
    with pytest.raises(StoredPlaneError, match=rf"{gone.name}.*ivif predict"):
        data.setup("fit")


def test_results_of_the_last_epoch_arrive_when_they_are_complete(tmp_path: Path) -> None:
    store = tmp_path / "store"
    data = _msrs(tmp_path, 1, TransformConfig(crop=16, mosaic=0.5), previous_dir=store)
    data.setup("fit")
    loader = data.train_dataloader()
    seen = []
    for epoch, level in enumerate((50, 80, 110)):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = list(loader)
        seen.append(
            {value for batch in batches if "previous" in batch for value in batch["previous"].unique().tolist()}
        )
        (store / STORE_RECORD).unlink(missing_ok=True)
        _write_pictures(data, store, ("train",), level)
        (store / STORE_RECORD).write_text(f'{{"epoch": {epoch}}}')
    assert seen == [set(), {50}, {80}]
    assert all("previous" not in batch for batch in data.val_dataloader()[0])
    assert batches[0]["previous"].shape == (2, 1, 16, 16)


def test_whole_frames_of_training_pairs_can_be_had(tmp_path: Path) -> None:
    data = _msrs(tmp_path, transforms=TransformConfig(crop=16))
    (loader,) = data.frame_loaders("train")
    names = [batch["name"][0] for batch in loader]
    assert names == data.stage_readers("train")[0].names  # type: ignore[attr-defined]
    assert {tuple(batch["visible"].shape) for batch in loader} == {(1, 3, 40, 48)}


def test_a_relative_cache_lies_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert LoadingConfig().cache_folder == home() / ".cache" / "decoded"
    assert (LoadingConfig().cache_folder.parents[1] / "main.py").is_file()
    assert LoadingConfig(cache_dir=tmp_path / "c").cache_folder == tmp_path / "c"
    folder = os.path.relpath(tmp_path / "c", home())
    data = _msrs(tmp_path)
    data.loading = LoadingConfig(batch_size=2, num_workers=0, cache="disk", cache_dir=Path(folder))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    _epoch(data)
    assert list((tmp_path / "c").glob("*.planes"))


@pytest.mark.real
@pytest.mark.usefixtures("real_data")
def test_boxes_of_real_pairs_follow_their_drawing() -> None:
    """Each box is drawn into a stored picture: after every transform its edge is where the moved box says."""
    reading = ReadingConfig(missing_labels="drop")
    transforms = TransformConfig(**STREET, zoom=(0.7, 1.6), mosaic=0.5)
    data = MSRSDataModule(
        root=REAL_DATA / "MSRS", manifest="msrs_detection", reading=reading, transforms=transforms,
        loading=LoadingConfig(batch_size=1, num_workers=0),
    )  # fmt: skip
    reader = data.stage_readers("train")[0]

    class Drawn(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> Any:
            sample = dict(reader[index])
            mask = Image.new("L", (640, 480))
            for box in sample["targets"]["boxes"].tolist():  # type: ignore[index]
                ImageDraw.Draw(mask).rectangle([round(edge) for edge in box], fill=255)
            return {**sample, "mask": torch.from_numpy(np.array(mask))[None]}

    data._caches["train"] = [Drawn()]
    inside = 0
    for batch in _epoch(data) + _epoch(data, 1):
        for left, top, right, bottom in batch["targets"][0]["boxes"].round().int().tolist():
            share = (batch["mask"][0, 0, top + 1 : bottom - 1, left + 1 : right - 1] == 255).float().mean()
            assert share > 0.9 or min(right - left, bottom - top) < 4
            inside += 1
    assert inside > 30
