"""A picture is known by its pixels: under another name, in another folder, in another format, in either modality."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.picture_ids import pair_ids, picture_id
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from tests.fakes import scene, write_msrs

INFRARED, VISIBLE, _ = scene(3, (90, 140))


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "png"])
def test_a_lossless_copy_is_the_same_picture(suffix: str, tmp_path: Path) -> None:
    for name, pixels in (("ir", INFRARED), ("vi", VISIBLE)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.{suffix}", lossless=True)
    Image.fromarray(INFRARED).convert("RGB").save(tmp_path / "three_channels.png")
    expected = picture_id(INFRARED) + picture_id(VISIBLE)
    assert len(expected) == 32
    assert pair_ids(tmp_path / f"ir.{suffix}", tmp_path / f"vi.{suffix}") == expected
    swapped = pair_ids(tmp_path / f"vi.{suffix}", tmp_path / "three_channels.png")
    assert swapped[16:] == expected[:16]


def test_every_row_and_column_of_a_small_picture_counts() -> None:
    known = picture_id(VISIBLE[:64, :64])
    for row, column, channel in ((0, 0, 0), (63, 63, 2), (31, 5, 1)):
        changed = VISIBLE[:64, :64].copy()
        changed[row, column, channel] ^= 1
        assert picture_id(changed) != known
    assert picture_id(VISIBLE[:64, :64].transpose(1, 0, 2)) != known


def test_sixteen_bits_are_another_picture_than_eight() -> None:
    assert picture_id(INFRARED.astype(np.uint16) * 257) != picture_id(INFRARED)


def test_a_picture_of_one_value_is_like_any_other_and_has_no_id() -> None:
    assert picture_id(np.zeros((40, 50), np.uint8)) == ""
    assert picture_id(np.full((40, 50, 3), 7, np.uint8)) == ""


def test_samples_carry_the_ids_of_their_own_files(tmp_path: Path) -> None:
    reader = MSRS(write_msrs(tmp_path), "train")
    for index, record in enumerate(reader.records):
        assert reader[index]["picture_ids"] == pair_ids(record.infrared, record.visible)
    scenes = SyntheticDataset(2, (32, 40))
    assert len({scenes[index]["picture_ids"] for index in range(2)}) == 2
