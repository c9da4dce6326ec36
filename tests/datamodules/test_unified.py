"""Several datasets as one."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.unified import UnifiedDataModule
from ivif.files.errors import DatasetError
from tests.fakes import write_llvip, write_msrs, write_roadscene, write_tno

LOADING = LoadingConfig(batch_size=4, num_workers=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_roadscene(tmp_path / "RoadScene", count=9)
    write_msrs(tmp_path / "msrs", count=5)
    write_llvip(tmp_path / "LLVIP", count=4)
    write_tno(tmp_path / "TNO", count=3)
    return tmp_path


def test_training_mixes_and_testing_has_a_loader_each(root: Path) -> None:
    data = UnifiedDataModule(root=root, manifest="mgfusion", loading=LOADING, transforms=TransformConfig(crop=16))
    data.setup("fit")
    names = {name for batch in data.train_dataloader() for name in batch["dataset"]}
    assert names == {"roadscene", "msrs", "llvip"}
    data.setup("test")
    sources = [{name for batch in loader for name in batch["dataset"]} for loader in data.test_dataloader()]
    assert {"tno"} in sources
    assert all(len(source) == 1 for source in sources)


def test_balanced_training_draws_small_datasets_as_often(root: Path) -> None:
    write_roadscene(root / "RoadScene", count=40)
    counts = {}
    for balance in (False, True):
        loading = replace(LOADING, balance=balance)
        data = UnifiedDataModule(root=root, manifest="mgfusion", loading=loading, transforms=TransformConfig(crop=16))
        data.setup("fit")
        drawn = [name for batch in data.train_dataloader() for name in batch["dataset"]]
        counts[balance] = Counter(drawn)
    assert counts[False].total() == counts[True].total()
    assert max(counts[True].values()) - min(counts[True].values()) <= 1
    assert counts[False]["roadscene"] > 2 * counts[False]["llvip"]


def test_what_is_missing_is_left_out_with_a_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = UnifiedDataModule(root=root, manifest="mgfusion", loading=LOADING)
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    assert any("m3fd is left out" in record.getMessage() for record in caplog.records)
    assert any("of 217" in record.getMessage() for record in caplog.records)


def test_strict_refuses_a_part(root: Path) -> None:
    with pytest.raises(DatasetError):
        UnifiedDataModule(root=root, manifest="mgfusion", strict=True).setup("fit")


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="roadscene, llvip, msrs, m3fd, tno"):
        UnifiedDataModule(root=tmp_path, manifest="mgfusion").setup("fit")


def test_a_dataset_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_tno(elsewhere, count=2)
    data = UnifiedDataModule(root=root, datasets=["tno"], roots={"tno": elsewhere}, manifest="mgfusion")
    assert len(data.stage_readers("test")[0]) == 2  # type: ignore[arg-type]


def test_an_unknown_dataset_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"flir.*roadscene, llvip"):
        UnifiedDataModule(root=tmp_path, datasets=["flir"])
