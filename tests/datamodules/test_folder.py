"""Any two folders as a datamodule."""

from pathlib import Path

import pytest

from ivif.datamodules.datasets.folder import FolderLayout
from ivif.datamodules.folder import FolderDataModule
from tests.fakes import write_folder


def _names(data: FolderDataModule, stage: str) -> list[str]:
    return [name for reader in data.stage_readers(stage) for name in reader.names]  # type: ignore[attr-defined]


def test_a_share_is_trained_on_and_the_rest_tested(tmp_path: Path) -> None:
    data = FolderDataModule(root=write_folder(tmp_path, count=10))
    train, test = _names(data, "train"), _names(data, "test")
    assert (len(train), len(test)) == (8, 2)
    assert not set(train) & set(test)
    assert _names(data, "val") == test
    assert len(_names(data, "all")) == 10


def test_the_share_does_not_move_when_names_are_added_to_disk(tmp_path: Path) -> None:
    few = FolderDataModule(root=write_folder(tmp_path / "a", count=4), train_fraction=0.5)
    assert _names(few, "train") == _names(FolderDataModule(root=tmp_path / "a", train_fraction=0.5), "train")


def test_names_by_pattern_and_a_name_of_its_own(tmp_path: Path) -> None:
    root = write_folder(tmp_path, count=3, templates=("ir_{:03d}", "vis-{:03d}"))
    data = FolderDataModule(root=root, layout=FolderLayout(pattern=r"(\d+)", name="mine"))
    assert sorted(_names(data, "all")) == ["000", "001", "002"]
    assert data.stage_readers("all")[0][0]["dataset"] == "mine"


def test_an_impossible_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train_fraction"):
        FolderDataModule(root=tmp_path, train_fraction=1.5)
