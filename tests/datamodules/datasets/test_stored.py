"""Stored pictures arrive with their pairs, fresh at every visit, and move with them."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ivif.contracts.batch import Sample, collate
from ivif.contracts.run_files import STORE_RECORD
from ivif.datamodules.datasets.cache import cached
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.stored import StoredPlaneError, StoredPlanes
from ivif.datamodules.datasets.transforms import Compose, RandomCrop, RandomFlipRotate90
from ivif.files.errors import UnreadableFileError
from tests.fakes import write_msrs


@pytest.fixture
def reader(tmp_path: Path) -> MSRS:
    write_msrs(tmp_path / "msrs", count=3)
    return MSRS(tmp_path / "msrs", "train")


def write_pictures(reader: MSRS, folder: Path, level: int = 0) -> None:
    """Each pair's visible picture; or, with a level, a plain one."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in (reader[index] for index in range(len(reader))):
        pixels = sample["visible"].permute(1, 2, 0).numpy()
        Image.fromarray(np.full_like(pixels, level) if level else pixels).save(folder / f"{sample['name']}.png")


def test_pictures_of_names_in_lower_case_are_found(reader: MSRS, tmp_path: Path) -> None:
    (tmp_path / "00001d.png").touch()
    pictured = StoredPlanes(reader, tmp_path, "fused", 3)
    assert pictured.path("msrs", "00001D") == tmp_path / "00001d.png"
    (tmp_path / "00001D.png").touch()
    assert pictured.path("msrs", "00001D") == tmp_path / "00001D.png"
    assert pictured.path("msrs", "00002D") == tmp_path / "msrs" / "00002D.png"


@pytest.mark.parametrize("layout", ["", "msrs"])
def test_each_pair_gets_its_own_picture(layout: str, reader: MSRS, tmp_path: Path) -> None:
    write_pictures(reader, tmp_path / "fused" / layout)
    pictured = StoredPlanes(reader, tmp_path / "fused", "fused", 3)
    assert len(pictured) == 3
    for index in range(3):
        sample = pictured[index]
        assert torch.equal(sample["fused"], reader[index]["visible"])
        assert "fused" not in reader[index]
    pictured.check("msrs", reader.names)


def test_the_folder_of_the_data_set_comes_first_and_is_needed_among_several(reader: MSRS, tmp_path: Path) -> None:
    write_pictures(reader, tmp_path, level=7)
    several = StoredPlanes(reader, tmp_path, "fused", 3, several=True)
    with pytest.raises(StoredPlaneError, match=r"msrs/00001D.png' is not there\."):
        several[0]
    write_pictures(reader, tmp_path / "msrs", level=9)
    assert set(several[0]["fused"].flatten().tolist()) == {9}
    assert set(StoredPlanes(reader, tmp_path, "fused", 3)[0]["fused"].flatten().tolist()) == {9}


@pytest.mark.parametrize(("key", "channels", "shape"), [("fused", 3, (3, 40, 48)), ("previous", 1, (1, 40, 48))])
def test_grey_and_colour_fit_either_plane(
    key: Literal["fused", "previous"], channels: Literal[1, 3], shape: tuple[int, ...], reader: MSRS, tmp_path: Path
) -> None:
    for name, size in zip(reader.names, [(40, 48), (40, 48, 3), (40, 48, 3)], strict=True):
        Image.fromarray(np.full(size, 77, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    for sample in StoredPlanes(reader, tmp_path, key, channels):  # type: ignore[attr-defined]
        assert sample[key].shape == shape
        assert set(sample[key].flatten().tolist()) == {77}


def test_what_is_missing_is_named_with_the_remedy(reader: MSRS, tmp_path: Path) -> None:
    write_pictures(reader, tmp_path / "fused")
    (tmp_path / "fused" / "00003D.png").unlink()
    pictured = StoredPlanes(reader, tmp_path / "fused", "fused", 3)
    with pytest.raises(StoredPlaneError, match=r"1 of 3 pairs of msrs.*00003D\.png'.*ivif predict \.\.\. --output_dir"):
        pictured.check("msrs", reader.names)
    with pytest.raises(StoredPlaneError, match=r"00003D has no 'fused' picture"):
        pictured[reader.names.index("00003D")]


def test_a_picture_of_another_size_is_refused_unless_both_are_resized(reader: MSRS, tmp_path: Path) -> None:
    for name in reader.names:
        Image.fromarray(np.zeros((20, 24, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(StoredPlaneError, match=r"24x20 pixels, its pair 48x40"):
        StoredPlanes(reader, tmp_path, "fused", 3)[0]
    assert StoredPlanes(reader, tmp_path, "fused", 3, resized=(20, 24))[0]["fused"].shape == (3, 20, 24)


def test_a_broken_picture_is_named(reader: MSRS, tmp_path: Path) -> None:
    write_pictures(reader, tmp_path)
    (tmp_path / "00001D.png").write_bytes(b"\x89PNG")
    with pytest.raises(UnreadableFileError, match=r"00001D\.png"):
        StoredPlanes(reader, tmp_path, "fused", 3)[0]


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_living_workers_see_what_is_written_anew(cache: Literal["ram", "disk"], reader: MSRS, tmp_path: Path) -> None:
    pictured = StoredPlanes(cached(reader, cache, tmp_path / "cache"), tmp_path / "store", "previous", 1)
    loader = DataLoader(pictured, batch_size=3, num_workers=1, collate_fn=collate, persistent_workers=True)
    levels = []
    for level in (40, 90):
        write_pictures(reader, tmp_path / "store", level)
        levels += [set(batch["previous"].flatten().tolist()) for batch in loader]
    assert levels == [{40}, {90}]


def test_flips_and_crops_commute_with_the_store(reader: MSRS, tmp_path: Path) -> None:
    """A picture that equals a plane of its pair still equals it after every joint transform."""
    write_pictures(reader, tmp_path)
    pictured = StoredPlanes(reader, tmp_path, "fused", 3)
    turned = set()
    for seed in range(30):
        transform = Compose([RandomCrop(24), RandomFlipRotate90()])
        sample: Sample = transform(pictured[seed % 3], torch.Generator().manual_seed(seed))
        assert torch.equal(sample["fused"], sample["visible"])
        turned.add(sample["fused"].numpy().tobytes())
    assert len(turned) > 20


def test_the_record_says_which_epoch_is_stored(reader: MSRS, tmp_path: Path) -> None:
    store = StoredPlanes(reader, tmp_path, "previous", 1)
    epochs = [store.epoch]
    (tmp_path / STORE_RECORD).write_text(json.dumps({"epoch": 4}))
    assert [*epochs, store.epoch] == [None, 4]
    for content in ("", "[3]", "{}", '{"epoch": "x"}'):
        (tmp_path / STORE_RECORD).write_text(content)
        with pytest.raises(StoredPlaneError, match=r"epoch\.json.*Remove the folder"):
            _ = store.epoch
