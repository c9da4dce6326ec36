import shutil
from pathlib import Path
from typing import Literal

import pytest

from ivif.datamodules.datasets.msrs import MSRS
from ivif.files.errors import DatasetNotFoundError, PairingError
from tests.fakes import write_msrs


def test_splits_and_all(tmp_path: Path) -> None:
    root = write_msrs(tmp_path, count=3)
    train, test, both = (MSRS(root, split) for split in ("train", "test", "all"))
    assert train.names == ["00001D", "00002D", "00003D"]
    assert sorted(both.names) == sorted(train.names + test.names)
    chosen = both.select(test.names)
    assert chosen[0]["content_id"] == test[0]["content_id"]
    assert chosen[0]["targets"]["labels"].tolist() == test[0]["targets"]["labels"].tolist()


@pytest.mark.parametrize(("labels", "expected"), [("fusion", [0, 1, 2]), ("infrared", [0, 0, 0]), ("visible", [])])
def test_whose_boxes_count(
    tmp_path: Path, labels: Literal["fusion", "infrared", "visible"], expected: list[int]
) -> None:
    dataset = MSRS(write_msrs(tmp_path), labels=labels)
    assert [label for index in range(3) for label in dataset[index]["targets"]["labels"].tolist()] == expected


def test_colliding_names_across_splits_are_refused(tmp_path: Path) -> None:
    root = write_msrs(tmp_path)
    for folder in ("ir", "vi"):
        shutil.copy(root / "train" / folder / "00001D.png", root / "test" / folder / "00001D.png")
    assert len(MSRS(root, "test")) == 4
    with pytest.raises(PairingError, match=r"'00001D'.*unique"):
        MSRS(root, "all")


def test_missing_split_and_wrong_labels(tmp_path: Path) -> None:
    root = write_msrs(tmp_path, splits=("train",))
    with pytest.raises(DatasetNotFoundError):
        MSRS(root, "test")
    assert len(MSRS(root, "all")) == 3
    with pytest.raises(ValueError, match="fusion, infrared, visible"):
        MSRS(root, labels="both")  # type: ignore[arg-type]
