"""Several datasets as one."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.labels.class_names import class_index
from ivif.datamodules.start_checks import files_of
from ivif.datamodules.unified import UnifiedDataModule
from ivif.files.errors import DatasetError, LabelError
from tests.fakes import M3FD_CLASSES, MSRS_CLASSES, write_llvip, write_m3fd, write_msrs, write_roadscene, write_tno

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


LABELLED = ("m3fd", "msrs", "llvip")


def test_one_class_of_three_datasets_is_one_label(root: Path) -> None:
    write_m3fd(root / "M3FD", count=6)
    data = UnifiedDataModule(root, LABELLED, manifest="default", classes=["Person"], loading=LOADING)
    assert data.classes == ("Person",)
    assert data.has_labels("train")
    readers = [reader for each in data.stage_readers("train") if (reader := files_of(each))]
    assert [reader.dataset_name for reader in readers] == list(LABELLED)
    for reader, classes in zip(readers, (M3FD_CLASSES, MSRS_CLASSES, ("person",)), strict=True):
        person = class_index("person", classes)
        alone = type(reader)(reader.root, reader.split)
        found = [target["boxes"].tolist() for target in map(reader.load_targets, range(len(reader)))]
        expected = []
        for index in map(alone.names.index, reader.names):
            target = alone.load_targets(index)
            expected.append(target["boxes"][target["labels"] == person].tolist())
        assert found == expected
        assert any(found)


@pytest.mark.parametrize(
    ("datasets", "classes", "message"),
    [
        (("msrs", "roadscene", "tno"), ["person"], r"roadscene, tno does not have: set `datasets` .* \[msrs\]\.$"),
        (("roadscene",), ["person"], r"\[m3fd, msrs, llvip\]\.$"),
        (LABELLED, ["person", "car"], r"'car', which is no class of llvip's labels: person\. .* Or leave llvip out"),
    ],
)
def test_a_dataset_without_the_boxes_asked_for_is_refused(
    root: Path, datasets: tuple[str, ...], classes: list[str], message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        UnifiedDataModule(root, datasets, classes=classes)


def test_a_dataset_without_label_files_is_not_learnt_from(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_m3fd(root / "M3FD", count=6)
    rmtree(root / "LLVIP" / "Annotations")
    data = UnifiedDataModule(root, LABELLED, manifest="default", classes=["person"], loading=LOADING)
    with pytest.raises(LabelError, match=r"no pair of llvip has a label file\..*leave llvip out of `datasets`\.$"):
        data.setup("fit")
    with caplog.at_level(logging.WARNING):
        data.setup("test")
    said = [record.getMessage() for record in caplog.records if "its detections are not scored" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("test: no pair of llvip has a label file")
