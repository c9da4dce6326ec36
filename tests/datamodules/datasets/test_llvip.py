from pathlib import Path

import pytest

from ivif.datamodules.datasets.llvip import LLVIP
from ivif.files.errors import DatasetNotFoundError
from tests.fakes import write_llvip


def test_splits_share_one_folder_of_annotations(tmp_path: Path) -> None:
    root = write_llvip(tmp_path)
    train, test, both = (LLVIP(root, split) for split in ("train", "test", "all"))
    assert train.names == ["010001", "010002", "010003"]
    assert both.names == train.names + test.names
    assert all(dataset[0]["targets"]["labels"].tolist() == [0] for dataset in (train, test, both))


def test_infrared_in_one_or_three_channels(tmp_path: Path) -> None:
    root = write_llvip(tmp_path)
    assert LLVIP(root, "train")[0]["infrared"].shape == LLVIP(root, "test")[0]["infrared"].shape == (1, 40, 48)


def test_without_annotations_there_are_no_targets(tmp_path: Path) -> None:
    root = write_llvip(tmp_path)
    (root / "Annotations").rename(root / "elsewhere")
    assert "targets" not in LLVIP(root)[0]


def test_one_split_alone(tmp_path: Path) -> None:
    root = write_llvip(tmp_path)
    (root / "visible" / "test").rename(root / "visible" / "later")
    assert LLVIP(root, "all").names == LLVIP(root, "train").names
    with pytest.raises(DatasetNotFoundError):
        LLVIP(root, "test")
