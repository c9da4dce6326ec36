"""Stages, loaders and batches of the datamodules on disk."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ivif.contracts.batch import Batch
from ivif.datamodules.batch_sizes import largest_batch
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.llvip import LLVIPDataModule
from ivif.datamodules.m3fd import M3FDDataModule
from ivif.datamodules.msrs import MSRSDataModule
from ivif.datamodules.paired import PairedDataModule
from ivif.datamodules.roadscene import RoadSceneDataModule
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.datamodules.tno import TNODataModule
from ivif.files.errors import DatasetNotFoundError, SplitError, UnreadableFileError
from tests.fakes import write_folder, write_llvip, write_m3fd, write_msrs, write_roadscene, write_tno

LOADING = LoadingConfig(batch_size=2, num_workers=0)
CROP = TransformConfig(crop=16)


def _first(loader: object, module: PairedDataModule) -> Batch:
    batch: Batch = next(iter(loader))  # type: ignore[call-overload]
    return module.on_after_batch_transfer(batch, 0)


@pytest.fixture
def msrs(tmp_path: Path) -> MSRSDataModule:
    write_msrs(tmp_path, count=12)
    return MSRSDataModule(root=tmp_path, loading=LOADING, transforms=CROP)


def test_training_batches_are_float_crops_with_targets(msrs: MSRSDataModule) -> None:
    msrs.setup("fit")
    batch = _first(msrs.train_dataloader(), msrs)
    assert batch["infrared"].shape == (2, 1, 16, 16)
    assert batch["visible"].shape == (2, 3, 16, 16)
    assert batch["visible"].dtype == torch.float32
    assert 0.1 < batch["visible"].max() <= 1
    assert [len(targets["boxes"]) == len(targets["labels"]) for targets in batch["targets"]] == [True, True]


def test_bytes_travel_and_floats_arrive(msrs: MSRSDataModule) -> None:
    msrs.setup("fit")
    assert next(iter(msrs.train_dataloader()))["visible"].dtype == torch.uint8


def test_evaluation_keeps_native_sizes_one_by_one(msrs: MSRSDataModule) -> None:
    msrs.setup("test")
    (loader,) = msrs.test_dataloader()
    batch = _first(loader, msrs)
    assert batch["infrared"].shape == (1, 1, 40, 48)
    assert len(loader) == 12


def test_resizing_makes_evaluation_batches(tmp_path: Path) -> None:
    write_msrs(tmp_path, count=4)
    transforms = TransformConfig(crop=None, resize=(24, 32), test_resize=(16, 24))
    module = MSRSDataModule(root=tmp_path, loading=LOADING, transforms=transforms)
    module.setup("test")
    assert _first(module.test_dataloader()[0], module)["visible"].shape == (2, 3, 16, 24)
    for stage in ("train", "val"):
        assert module.largest_batch(stage) == (2, 24, 32, "")
    assert module.largest_batch("test") == (2, 16, 24, "")


def test_test_pairs_keep_their_own_size_whatever_training_saw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_msrs(tmp_path, count=30)
    module = MSRSDataModule(root=tmp_path, loading=LOADING, transforms=TransformConfig(crop=None, resize=(24, 32)))
    with caplog.at_level("INFO"):
        module.setup("fit")
        assert not any("size" in message for message in caplog.messages)
        module.setup("test")
    assert any("Test pairs keep their own size" in message for message in caplog.messages)
    assert _first(module.val_dataloader()[0], module)["visible"].shape[-2:] == (24, 32)
    assert _first(module.test_dataloader()[0], module)["visible"].shape == (1, 3, 40, 48)
    assert module.largest_batch("test")[:3] == (1, 40, 48)  # type: ignore[index]


def test_the_largest_batch_is_known_from_headers(tmp_path: Path) -> None:
    write_folder(tmp_path, count=3)
    largest = sorted((tmp_path / "vi").iterdir())[1]
    Image.new("RGB", (90, 70)).save(largest)
    whole = TransformConfig(crop=None)
    module = FolderDataModule(root=tmp_path, predict_stage="all", loading=LOADING, transforms=whole)
    assert module.largest_batch("predict") == (1, 70, 90, f"folder/{largest.stem}")
    largest.write_bytes(b"no image")  # the reader's own message comes when it is read
    assert module.largest_batch("predict") == (1, 70, 90, f"folder/{largest.stem}")  # read once
    again = FolderDataModule(root=tmp_path, predict_stage="all", loading=LOADING, transforms=whole)
    second = again.largest_batch("predict")
    assert second is not None
    assert second.pair != f"folder/{largest.stem}"
    transforms = TransformConfig(crop=8, resize=(64, 80))
    resized = FolderDataModule(root=tmp_path, predict_stage="all", loading=LOADING, transforms=transforms)
    assert resized.largest_batch("train") == (2, 8, 8, "")
    assert resized.largest_batch("val") == (2, 64, 80, "")
    assert resized.largest_batch("predict") == second  # which keeps every size


class _Asked:
    """A reader that counts what it is asked, as its list of names costs as much as there are pairs."""

    dataset_name = "folder"

    def __init__(self) -> None:
        self.lists = 0

    @property
    def names(self) -> list[str]:
        self.lists += 1
        return [f"{index}" for index in range(50)]

    def image_size(self, index: int) -> tuple[int, int]:
        return (8, 8 + index % 7)


def test_finding_the_largest_batch_takes_one_pass(tmp_path: Path) -> None:
    reader = _Asked()
    shares = [(reader, range(50))]
    assert largest_batch("predict", 1, TransformConfig(), shares) == (1, 8, 14, "folder/6")
    assert reader.lists == 1


def test_names_are_listed_once_and_follow_a_selection(tmp_path: Path) -> None:
    write_folder(tmp_path, count=3)
    reader = FolderDataset(tmp_path, "all")
    assert reader.names is reader.names
    assert reader.select(reader.names[1:]).names == reader.names[1:]


def test_predict_takes_neighbours_of_one_size_together(tmp_path: Path) -> None:
    write_folder(tmp_path, count=7)
    visible, infrared = (sorted((tmp_path / folder).iterdir()) for folder in ("vi", "ir"))
    for number in (3, 4):
        Image.new("RGB", (90, 70)).save(visible[number])
        Image.new("L", (90, 70)).save(infrared[number])
    loading = LoadingConfig(batch_size=4, predict_batch=2, num_workers=0)
    module = FolderDataModule(root=tmp_path, predict_stage="all", loading=loading, transforms=TransformConfig())
    alone = FolderDataModule(root=tmp_path, predict_stage="all", loading=LOADING, transforms=TransformConfig())
    assert module.largest_batch("predict")[:3] == (2, 70, 90)  # type: ignore[index]
    (together,), (one_by_one,) = module.predict_dataloader(), alone.predict_dataloader()
    batches, single = list(together), [batch["visible"][0] for batch in one_by_one]
    assert [batch["name"] for batch in batches] == [
        [path.stem for path in visible[first:behind]] for first, behind in ((0, 2), (2, 3), (3, 5), (5, 7))
    ]
    assert all(map(torch.equal, (plane for batch in batches for plane in batch["visible"]), single))
    assert len(together) == 4
    visible[1].write_bytes(b"no image")
    with pytest.raises(UnreadableFileError, match=visible[1].name):
        list(module.predict_dataloader()[0])


def test_tests_go_on_one_by_one(tmp_path: Path) -> None:
    write_msrs(tmp_path, count=4)
    loading = LoadingConfig(predict_batch=4, num_workers=0)
    module = MSRSDataModule(root=tmp_path, loading=loading, transforms=TransformConfig())
    module.setup("test")
    assert len(module.test_dataloader()[0]) == 4
    assert len(module.predict_dataloader()[0]) == 1


def test_stages_do_not_overlap(msrs: MSRSDataModule) -> None:
    names = [set(msrs.stage_readers(stage)[0].names) for stage in ("train", "val", "test")]  # type: ignore[attr-defined]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert len(names[0] | names[1]) == 12
    assert len(names[2]) == 12


def test_validation_pairs_may_be_scored_in_place_of_test_pairs(tmp_path: Path) -> None:
    write_msrs(tmp_path, count=12)
    write_folder(tmp_path / "own", count=6)
    modules = (
        lambda stage: MSRSDataModule(root=tmp_path, loading=LOADING, test_stage=stage),
        lambda stage: FolderDataModule(root=tmp_path / "own", loading=LOADING, test_stage=stage),
        lambda stage: SyntheticDataModule(evaluation_length=2, size=(32, 40), loading=LOADING, test_stage=stage),
    )
    for build in modules:
        plain, chosen = build("test"), build("val")
        chosen.setup("test")
        (validated,), (tested,) = plain.val_dataloader(), chosen.test_dataloader()
        assert [batch["name"] for batch in tested] == [batch["name"] for batch in validated]
        sizes = [module.largest_batch(stage) for module, stage in ((plain, "val"), (chosen, "test"))]
        assert sizes[0] == sizes[1]
        assert chosen.predict_stage == "test"
        chosen.skip_predictions(lambda *_: True)
        assert not any(map(len, chosen.predict_dataloader())), "predict means the same pairs"


def test_whose_labels_count(tmp_path: Path) -> None:
    write_msrs(tmp_path, count=3)
    counts = {}
    for labels in ("fusion", "infrared", "visible"):
        reader = MSRSDataModule(root=tmp_path, labels=labels).stage_readers("all")[0]
        targets = [reader.load_targets(index)["labels"] for index in range(6)]  # type: ignore[attr-defined]
        counts[labels] = torch.cat(targets).bincount(minlength=3).tolist()
    assert counts["visible"] == [0, 0, 0]
    assert counts["infrared"] == [6, 0, 0]
    assert sum(counts["fusion"]) == 6
    assert counts["fusion"] != counts["infrared"]


@pytest.mark.parametrize(
    ("module", "write", "name"),
    [
        (M3FDDataModule, write_m3fd, "m3fd"),
        (RoadSceneDataModule, write_roadscene, "roadscene"),
        (TNODataModule, write_tno, "tno"),
        (LLVIPDataModule, write_llvip, "llvip"),
        (MSRSDataModule, write_msrs, "msrs"),
    ],
)
def test_every_dataset_predicts_all_its_pairs(
    module: type[PairedDataModule], write: object, name: str, tmp_path: Path
) -> None:
    write(tmp_path)  # type: ignore[operator]
    data = module(root=tmp_path, predict_stage="all", loading=LOADING)
    data.setup("predict")
    (loader,) = data.predict_dataloader()
    batches = list(loader)
    assert {batch["dataset"][0] for batch in batches} == {name}
    assert len({batch["name"][0] for batch in batches}) == len(batches) >= 4


def test_finished_predictions_are_left_out(msrs: MSRSDataModule) -> None:
    msrs.setup("predict")
    done = msrs.stage_readers("test")[0].names[:5]  # type: ignore[attr-defined]
    skipped = msrs.skip_predictions(lambda dataset, name, several: dataset == "msrs" and not several and name in done)
    assert skipped == 5
    assert not set(done) & {batch["name"][0] for batch in msrs.predict_dataloader()[0]}


def test_a_stage_that_the_manifest_lacks_is_refused(tmp_path: Path) -> None:
    write_tno(tmp_path)
    with pytest.raises(SplitError, match="'mgfusion' gives no 'train' pairs for tno"):
        TNODataModule(root=tmp_path, manifest="mgfusion").setup("fit")


def test_strict_names_what_is_missing(tmp_path: Path) -> None:
    write_msrs(tmp_path)
    with pytest.raises(SplitError, match="msrs"):
        MSRSDataModule(root=tmp_path, manifest="mgfusion", strict=True).setup("fit")


def test_a_missing_root_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        MSRSDataModule(root=tmp_path / "nowhere").setup("fit")


def test_the_used_pairs_are_written_and_read_back(msrs: MSRSDataModule, tmp_path: Path) -> None:
    msrs.setup("fit")
    msrs.write_selections(tmp_path / "splits")
    again = MSRSDataModule(root=msrs.root, manifest=str(tmp_path / "splits" / "used.yaml"), strict=True)
    assert again.stage_readers("train")[0].names == msrs.stage_readers("train")[0].names  # type: ignore[attr-defined]


def test_prompts_arrive_in_the_batch(tmp_path: Path) -> None:
    write_msrs(tmp_path)
    data = MSRSDataModule(root=tmp_path, prompts=PromptConfig(source="coarse"), loading=LOADING, transforms=CROP)
    data.setup("test")
    assert "street" in _first(data.test_dataloader()[0], data)["prompt"][0]


def test_clip_views_show_the_whole_frame(tmp_path: Path) -> None:
    write_msrs(tmp_path)
    transforms = TransformConfig(crop=16, clip_size=32)
    data = MSRSDataModule(root=tmp_path, loading=LOADING, transforms=transforms)
    data.setup("fit")
    batch = _first(data.train_dataloader(), data)
    assert batch["clip_view_infrared"].shape == (2, 1, 32, 32)
    assert batch["clip_view_visible"].shape == (2, 3, 32, 32)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"num_workers": -1}])
def test_impossible_loading_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        LoadingConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"crop": 4},
        {"jitter": 2.0},
        {"resize": (4, 9)},
        {"test_resize": (4, 9)},
        {"flip": "vertical"},
        {"zoom": (0.0, 1.0)},
        {"zoom": (2.0, 1.0)},
        {"mosaic": 1.5},
        {"mosaic": 0.5, "clip_size": 224},
    ],
)
def test_impossible_transforms_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        TransformConfig(**settings)  # type: ignore[arg-type]
