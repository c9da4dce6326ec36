import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ivif.contracts.batch import Sample, collate
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.io import content_id
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.datamodules.datasets.tno import TNO
from ivif.files.errors import (
    DatasetNotFoundError,
    LabelError,
    PairingError,
    SplitError,
    UnreadableFileError,
)
from tests.fakes import (
    NO_FAULTS,
    Faults,
    scene,
    write_llvip,
    write_m3fd,
    write_msrs,
    write_roadscene,
    write_tno,
)

WRITERS: dict[type[PairedDataset], Callable[..., Path]] = {
    M3FD: write_m3fd,
    TNO: write_tno,
    RoadScene: write_roadscene,
    MSRS: write_msrs,
    LLVIP: write_llvip,
}
READERS = pytest.mark.parametrize("reader", WRITERS, ids=lambda reader: reader.__name__)


@READERS
def test_every_reader_keeps_the_contract(tmp_path: Path, reader: type[PairedDataset]) -> None:
    root = WRITERS[reader](tmp_path / "data")
    dataset = reader(root, reader.splits[0])
    assert len(dataset) == len(set(dataset.names)) > 0
    assert dataset.pairing.complete
    assert (dataset.dataset_name, bool(dataset.url), bool(dataset.license)) == (reader.__name__.lower(), True, True)
    for index in range(len(dataset)):
        sample = dataset[index]
        height, width = dataset.image_size(index)
        assert sample["infrared"].shape == (1, height, width)
        assert sample["visible"].shape == (3, height, width)
        assert sample["infrared"].dtype == sample["visible"].dtype == torch.uint8
        assert sample["infrared"].float().std() > 10
        assert sample["name"] == dataset.records[index].visible.stem
        assert sample["content_id"] == content_id(dataset.records[index].infrared, dataset.records[index].visible)
        assert ("targets" in sample) == bool(dataset.classes) == dataset.has_labels
        if "targets" in sample:
            boxes = sample["targets"]["boxes"]
            assert torch.equal(dataset.load_targets(index)["boxes"], boxes)
            assert boxes.shape[1] == 4
            assert bool((boxes >= 0).all())
            assert bool((boxes <= torch.tensor([width, height, width, height])).all())
            left, top, right, bottom = boxes[0].int().tolist()
            # JPEG blurs the edge of the warm body by a pixel
            assert sample["infrared"][:, top + 2 : bottom - 2, left + 2 : right - 2].float().mean() > 225
    assert collate([dataset[0]])["visible"].is_contiguous()


@READERS
def test_missing_root_wrong_split_and_empty_folders(tmp_path: Path, reader: type[PairedDataset]) -> None:
    with pytest.raises(DatasetNotFoundError, match=rf"(?s)No {reader.__name__} pairs.*nowhere.*Looked for.*http"):
        reader(tmp_path / "nowhere", reader.splits[0])
    with pytest.raises(SplitError, match=f"'eval'.*{reader.splits[0]}"):
        reader(tmp_path, "eval")
    root = WRITERS[reader](tmp_path / "data")
    for file in root.rglob("*.*"):
        if file.suffix in (".png", ".jpg"):
            file.unlink()
    with pytest.raises(PairingError, match="holds no images"):
        reader(root, reader.splits[0])


@READERS
def test_root_may_be_a_level_above_or_below(tmp_path: Path, reader: type[PairedDataset]) -> None:
    root = WRITERS[reader](tmp_path / reader.__name__)
    direct = reader(root, reader.splits[0])
    assert reader(tmp_path, reader.splits[0]).names == direct.names
    below = direct.records[0].visible.parent
    assert reader(below, reader.splits[0]).names == direct.names


@READERS
@pytest.mark.parametrize("fault", ["truncated", "empty_file", "not_an_image"])
def test_corrupt_files_are_named(tmp_path: Path, reader: type[PairedDataset], fault: str) -> None:
    dataset = reader(WRITERS[reader](tmp_path, faults=replace(NO_FAULTS, **{fault: True})), reader.splits[0])
    with pytest.raises(UnreadableFileError, match=str(dataset.records[0].visible.name)):
        dataset[0]
    assert dataset[1]["name"] == dataset.names[1]


@pytest.mark.parametrize("side", ["infrared", "visible"])
def test_a_missing_partner_is_reported_or_refused(tmp_path: Path, side: str, caplog: pytest.LogCaptureFixture) -> None:
    root = write_m3fd(tmp_path, count=4, faults=replace(NO_FAULTS, **{f"missing_{side}": True}))
    dataset = M3FD(root)
    assert dataset.names == ["00000", "00001", "00002"]
    lost = dataset.pairing.unmatched_visible if side == "infrared" else dataset.pairing.unmatched_infrared
    assert [path.name for path in lost] == ["00003.png"]
    assert "00003.png" in caplog.text
    for record in dataset.records:
        assert record.infrared.stem == record.visible.stem == record.name
    with pytest.raises(PairingError, match=r"00003\.png.*strict"):
        M3FD(root, reading=ReadingConfig(strict=True))


def test_missing_labels_follow_the_policy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_m3fd(tmp_path, faults=Faults(missing_label=True), yolo=False)
    dataset = M3FD(root)
    assert dataset.pairing.unlabelled == ("00000",)
    assert dataset[0]["targets"]["boxes"].shape == (0, 4)
    assert "1 of 4 pairs" in caplog.text
    assert M3FD(root, reading=ReadingConfig(missing_labels="drop")).names == ["00001", "00002", "00003"]
    with pytest.raises(LabelError, match="00000"):
        M3FD(root, reading=ReadingConfig(missing_labels="error"))
    assert dataset.select(["00000"])[0]["targets"]["labels"].shape == (0,)


def test_labels_can_be_left_out(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path, faults=Faults(unknown_class=True))
    dataset = M3FD(root, reading=ReadingConfig(labels=False))
    assert "targets" not in dataset[0]
    assert not dataset.has_labels
    with pytest.raises(LabelError, match=r"00000\.xml.*'zebra'"):
        M3FD(root)[0]
    assert M3FD(root, reading=ReadingConfig(unknown_labels="ignore"))[0]["targets"]["labels"].shape == (0,)


def test_infrared_of_another_size_is_resized_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = M3FD(write_m3fd(tmp_path, size=(40, 48), faults=Faults(infrared_scale=0.5)))
    with caplog.at_level(logging.WARNING):
        samples = [dataset[index] for index in range(len(dataset))]
    assert all(sample["infrared"].shape == (1, 40, 48) for sample in samples)
    assert caplog.text.count("resized") == 1
    assert "'00000' (24x20 to 48x40)" in caplog.text
    expected = torch.from_numpy(scene(0, (40, 48))[0].astype(np.float32))
    assert (samples[0]["infrared"][0].float() - expected).abs().mean() < 20


def test_16_bit_thermal_goes_through_its_range(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path, faults=Faults(thermal_16_bit=True))
    raw = scene(0, (40, 48))[0].astype(np.float32) * 100 + 7000
    plain = M3FD(root, reading=ReadingConfig(ThermalRange("type")))
    fixed = M3FD(root, reading=ReadingConfig(ThermalRange("fixed", 7000, 31000)))
    torch.testing.assert_close(plain[0]["infrared"][0], torch.from_numpy(raw / 65535))
    torch.testing.assert_close(fixed[0]["infrared"][0], torch.from_numpy((raw - 7000) / 24000))
    assert plain[0]["visible"].dtype == torch.uint8
    assert plain[0]["content_id"] != fixed[0]["content_id"]


def test_thermal_range_leaves_8_bit_pairs_alone(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path)
    stretched = M3FD(root, reading=ReadingConfig(ThermalRange("minmax")))
    assert torch.equal(stretched[0]["infrared"], M3FD(root)[0]["infrared"])
    assert stretched[0]["content_id"] == M3FD(root)[0]["content_id"]


def test_floating_point_infrared_of_unknown_range_names_its_file(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path, count=1)
    (root / "Ir" / "00000.png").unlink()
    Image.fromarray(np.full((40, 48), 300.0, dtype=np.float32)).save(root / "Ir" / "00000.tif")
    with pytest.raises(UnreadableFileError, match=r"Ir/00000\.tif.*thermal_range"):
        M3FD(root, reading=ReadingConfig(ThermalRange("type")))[0]


def test_grey_visible_and_rotated_visible(tmp_path: Path) -> None:
    grey = M3FD(write_m3fd(tmp_path / "grey", faults=Faults(grey_visible=True)))[0]["visible"]
    assert grey.shape == (3, 40, 48)
    assert torch.equal(grey[0], grey[2])
    rotated = M3FD(write_m3fd(tmp_path / "rotated", faults=Faults(exif_rotation=True)))
    upright = M3FD(write_m3fd(tmp_path / "upright"))
    assert rotated.image_size(0) == (40, 48)
    assert torch.equal(rotated[0]["visible"], upright[0]["visible"])


def test_images_without_objects_are_kept(tmp_path: Path) -> None:
    dataset = MSRS(write_msrs(tmp_path, faults=Faults(empty_label=True)))
    assert len(dataset) == 3
    assert dataset[0]["targets"]["boxes"].shape == (0, 4)
    assert dataset[1]["targets"]["labels"].tolist() == [1]


def test_select_keeps_order_and_names_what_is_missing(tmp_path: Path) -> None:
    dataset = M3FD(write_m3fd(tmp_path))
    subset = dataset.select(["00002", "00000"])
    assert subset.names == ["00002", "00000"]
    assert subset[0]["content_id"] == dataset[2]["content_id"]
    assert len(dataset) == 4
    with pytest.raises(SplitError, match=r"1 of 2 names.*00009"):
        dataset.select(["00001", "00009"])


def test_transforms_are_applied_and_datasets_travel_to_workers(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path)

    def rename(sample: Sample) -> Sample:
        sample["name"] = "changed"
        return sample

    assert M3FD(root, transforms=rename)[0]["name"] == "changed"
    restored: M3FD = pickle.loads(pickle.dumps(M3FD(root)))
    assert torch.equal(restored[1]["visible"], M3FD(root)[1]["visible"])
    assert "pairs=4" in repr(restored)
    assert "People" in repr(restored)
    with pytest.raises(ValueError, match="empty, drop, error"):
        ReadingConfig(missing_labels="skip")  # type: ignore[arg-type]
