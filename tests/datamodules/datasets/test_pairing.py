from pathlib import Path

import pytest

from ivif.datamodules.datasets.pairs.finding import candidate_roots, find_child
from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.datamodules.datasets.pairs.records import PairingReport
from ivif.files.errors import PairingError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_pairs_by_stem_whatever_order_case_and_extension(tmp_path: Path) -> None:
    infrared = touch(tmp_path / "ir", "10.png", "2.BMP", "X1.png", "only.png", ".hidden.png", "Thumbs.db")
    visible = touch(tmp_path / "vi", "2.jpg", "10.tiff", "x1.JPG", "other.jpg")
    found = match_folders(infrared, visible)
    assert {(record.name, record.infrared.name) for record in found.records} == {
        ("10", "10.png"),
        ("2", "2.BMP"),
        ("x1", "X1.png"),
    }
    assert [path.name for path in found.unmatched_infrared] == ["only.png"]
    assert [path.name for path in found.unmatched_visible] == ["other.jpg"]


def test_one_missing_file_does_not_shift_the_others(tmp_path: Path) -> None:
    infrared = touch(tmp_path / "ir", "1.png", "3.png", "4.png")
    visible = touch(tmp_path / "vi", "1.png", "2.png", "3.png", "4.png")
    assert all(record.infrared.name == record.visible.name for record in match_folders(infrared, visible).records)


def test_impossible_pairings_are_explained(tmp_path: Path) -> None:
    images = touch(tmp_path / "a", "1.png")
    with pytest.raises(PairingError, match="holds no images"):
        match_folders(images, touch(tmp_path / "empty", "readme.md"))
    with pytest.raises(PairingError, match=r"1\.png.*9\.png"):
        match_folders(images, touch(tmp_path / "b", "9.png"))
    with pytest.raises(PairingError, match=r"1\.jpg.*1\.png"):
        match_folders(images, touch(tmp_path / "c", "1.png", "1.jpg"))


def test_pattern_captures_what_partners_share(tmp_path: Path) -> None:
    infrared = touch(tmp_path / "ir", "thermal_0001.png", "thermal_0002.png", "notes.png")
    visible = touch(tmp_path / "vi", "cam-0002-v2.jpg", "cam-0001-v2.jpg")
    found = match_folders(infrared, visible, r"[_-](\d{4})")
    assert [(record.name, record.visible.name) for record in found.records] == [
        ("0001", "cam-0001-v2.jpg"),
        ("0002", "cam-0002-v2.jpg"),
    ]
    assert [path.name for path in found.unmatched_infrared] == ["notes.png"]


@pytest.mark.parametrize(
    ("pattern", "name"), [(r"\d+", "12"), (r"(\d+)_(\w+)", "12"), (r"\w(\d)", "1"), (r"(\d+)\.png$", "3")]
)
def test_a_pattern_counts_by_its_first_group_or_as_a_whole(tmp_path: Path, pattern: str, name: str) -> None:
    found = match_folders(touch(tmp_path / "ir", "a12_3.png"), touch(tmp_path / "vi", "c12_3.png"), pattern)
    assert [record.name for record in found.records] == [name]


def test_a_malformed_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match=r"layout\.pattern: the pattern"):
        match_folders(touch(tmp_path / "ir", "1.png"), touch(tmp_path / "vi", "1.png"), "(")


def test_folders_are_found_in_any_case_exact_first(tmp_path: Path) -> None:
    touch(tmp_path / "IR")
    assert find_child(tmp_path, ["ir"]) == tmp_path / "IR"
    touch(tmp_path / "Infrared")
    assert find_child(tmp_path, ["ir", "Infrared"]) == tmp_path / "Infrared"
    assert find_child(tmp_path / "none", ["ir"]) is None


def test_roots_a_level_above_and_below(tmp_path: Path) -> None:
    touch(tmp_path / "MSRS-main" / "train" / "ir")
    assert candidate_roots(tmp_path, ["MSRS"], ["train", "ir"]) == [tmp_path, tmp_path / "MSRS-main"]
    deep = candidate_roots(tmp_path / "MSRS-main" / "train" / "ir", ["MSRS"], ["train", "ir"])
    assert deep[-1] == tmp_path / "MSRS-main"
    assert candidate_roots(tmp_path / "none", ["MSRS"], []) == []


def test_report_counts_and_names(tmp_path: Path) -> None:
    report = PairingReport(unmatched_visible=tuple(tmp_path / f"{number}.png" for number in range(4)))
    assert not report.complete
    assert "4 visible file(s)" in report.describe()
    assert "2.png, ..." in report.describe()
    assert PairingReport().complete
    assert "every file" in PairingReport().describe()
