"""The grammar of pairs, on the layouts that people have."""

import os
from pathlib import Path

import pytest

from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.pairs.names import bare_folders, bare_stem, modality_of, pair_names, path_ends
from ivif.files.errors import PairingError
from tests.inputs import brings


def touch(root: Path, *names: str) -> Path:
    """Empty files: pairing goes by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pairs(root: Path, layout: FolderLayout = FolderLayout()) -> dict[str, tuple[str, str]]:
    """Infrared and visible file by name."""
    records = FolderDataset(root, layout=layout).records
    parts = [[str(path.relative_to(root)) for path in (record.infrared, record.visible)] for record in records]
    return {record.name: (infrared, visible) for record, (infrared, visible) in zip(records, parts, strict=True)}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            ("FLIR_00006_PreviewData.jpeg", "FLIR_00006_RGB.jpg"),
            {"FLIR_00006": ("FLIR_00006_PreviewData.jpeg", "FLIR_00006_RGB.jpg")},
            marks=brings(
                "pairs",
                "one folder with both: `FLIR_00006_{PreviewData.jpeg,RGB.jpg}`",
                "works",
                "the pair `FLIR_00006`",
            ),
        ),
        pytest.param(
            ("0001_ir.png", "0001_vis.png", "0001.txt", "0002_ir.png", "0002_vis.png"),
            {"0001": ("0001_ir.png", "0001_vis.png"), "0002": ("0002_ir.png", "0002_vis.png")},
            marks=brings("pairs", "one folder with `0001_ir`, `0001_vis` and `0001.txt`", "works", "the pair `0001`"),
        ),
        pytest.param(
            ("0001.png", "0001_ir.png"),
            {"0001": ("0001_ir.png", "0001.png")},
            marks=brings(
                "pairs", "one folder, one modality marked: `0001.png`, `0001_ir.png`", "works", "the pair `0001`"
            ),
        ),
        pytest.param(
            ("IR1.bmp", "VIS1.bmp"),
            {"1": ("IR1.bmp", "VIS1.bmp")},
            marks=brings("pairs", "one folder with `IR1`, `VIS1`", "works", "the pair `1`"),
        ),
        pytest.param(
            ("DJI_0001_T.JPG", "DJI_0001_W.JPG"),
            {"DJI_0001": ("DJI_0001_T.JPG", "DJI_0001_W.JPG")},
            marks=brings(
                "pairs", "a drone's folder: `DJI_0001_T`, `DJI_0001_W` (or `V`)", "works", "the pair `DJI_0001`"
            ),
        ),
        pytest.param(
            ("scene1/ir.png", "scene1/vis.png", "scene2/ir.png", "scene2/vis.png"),
            {"scene1": ("scene1/ir.png", "scene1/vis.png"), "scene2": ("scene2/ir.png", "scene2/vis.png")},
            marks=brings("pairs", "a folder per pair: `scene1/{ir,vis}.png`", "works", "the pair `scene1`"),
        ),
        pytest.param(
            (
                "set00/V000/lwir/I01216.jpg",
                "set00/V000/visible/I01216.jpg",
                "set00/V001/lwir/I01216.jpg",
                "set00/V001/visible/I01216.jpg",
            ),
            {
                "set00_V000_I01216": ("set00/V000/lwir/I01216.jpg", "set00/V000/visible/I01216.jpg"),
                "set00_V001_I01216": ("set00/V001/lwir/I01216.jpg", "set00/V001/visible/I01216.jpg"),
            },
            marks=brings(
                "pairs",
                "sequences (KAIST): `set00/V000/{lwir,visible}/I01216.jpg`",
                "works",
                "the pair `set00_V000_I01216` of the sequence `set00/V000`",
            ),
        ),
        pytest.param(
            ("Ir/a/1.png", "Vis/a/1.png", "Ir/b/1.png", "Vis/b/1.png"),
            {"a_1": ("Ir/a/1.png", "Vis/a/1.png"), "b_1": ("Ir/b/1.png", "Vis/b/1.png")},
            marks=brings("pairs", "two folders with folders in them: `{Ir,Vis}/a/1.png`", "works", "the pair `a_1`"),
        ),
        pytest.param(
            ("basketball/infrared/00001i.jpg", "basketball/visible/00001v.jpg"),
            {"basketball_00001": ("basketball/infrared/00001i.jpg", "basketball/visible/00001v.jpg")},
            marks=brings(
                "pairs", "RGBT234: `basketball/{infrared/00001i,visible/00001v}.jpg`", "works", "`basketball_00001`"
            ),
        ),
        pytest.param(
            ("train/trainimgr/00001.jpg", "train/trainimg/00001.jpg", "val/valimgr/00001.jpg", "val/valimg/00001.jpg"),
            {
                "train_00001": ("train/trainimgr/00001.jpg", "train/trainimg/00001.jpg"),
                "val_00001": ("val/valimgr/00001.jpg", "val/valimg/00001.jpg"),
            },
            marks=brings(
                "pairs", "DroneVehicle: `train/{trainimg,trainimgr}`, `val/...`", "works", "`trainimgr` is infrared"
            ),
        ),
        pytest.param(
            ("train/thermal_8_bit/FLIR_00001.jpeg", "train/RGB/FLIR_00001.jpg"),
            {"FLIR_00001": ("train/thermal_8_bit/FLIR_00001.jpeg", "train/RGB/FLIR_00001.jpg")},
            marks=brings(
                "pairs", "FLIR ADAS v1: `train/{thermal_8_bit,RGB}`", "works", "the pair `FLIR_00001` of `train`"
            ),
        ),
        pytest.param(
            (
                "images_thermal_train/data/a.jpg",
                "images_rgb_train/data/a.jpg",
                "images_thermal_val/data/a.jpg",
                "images_rgb_val/data/a.jpg",
            ),
            {
                "train_data_a": ("images_thermal_train/data/a.jpg", "images_rgb_train/data/a.jpg"),
                "val_data_a": ("images_thermal_val/data/a.jpg", "images_rgb_val/data/a.jpg"),
            },
            marks=brings("pairs", "folders `images_{thermal,rgb}_train`", "works", "pairs of the split `train`"),
        ),
    ],
)
def test_layouts_that_people_have(tmp_path: Path, files: tuple[str, ...], expected: dict[str, tuple[str, str]]) -> None:
    assert pairs(touch(tmp_path, *files)) == expected


@brings(
    "pairs", "`layout.infrared` and `layout.visible` are one folder", "works", "its pictures' words tell them apart"
)
def test_one_folder_may_be_given_for_both(tmp_path: Path) -> None:
    root = touch(tmp_path, "both/0001_ir.png", "both/0001_vis.png")
    layout = FolderLayout(infrared="both", visible="both")
    assert pairs(root, layout) == {"0001": ("both/0001_ir.png", "both/0001_vis.png")}


@brings("pairs", "one folder for both without a word in its names", "refused", "no picture is paired with itself")
def test_one_folder_without_words_is_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, "both/0001.png", "both/0002.png")
    for visible in ("both", "again"):
        if visible == "again":
            (root / "again").symlink_to(root / "both")
        with pytest.raises(PairingError, match="not paired with itself"):
            FolderDataset(root, layout=FolderLayout(infrared="both", visible=visible))


@brings("pairs", "links that make one file both pictures", "refused", "names the two paths of the one file")
@pytest.mark.parametrize("kind", ["symbolic", "hard", "folder"])
def test_links_to_one_file_are_no_pair(tmp_path: Path, kind: str) -> None:
    root = touch(tmp_path, "ir/a/1.png", "ir/a/2.png", "vi/b/1.png")
    if kind == "folder":
        (root / "vi" / "a").symlink_to(root / "ir" / "a")
    else:
        (root / "vi" / "a").mkdir()
        link = os.symlink if kind == "symbolic" else os.link
        link(root / "ir" / "a" / "1.png", root / "vi" / "a" / "1.png")
    with pytest.raises(PairingError, match=r"ir/a/1\.png' and .*vi/a/1\.png' are one file"):
        FolderDataset(root)


@brings("pairs", "two folders of links to pictures elsewhere", "works", "different files are a pair")
def test_links_to_different_files_are_pairs(tmp_path: Path) -> None:
    root = touch(tmp_path, "store/one.png", "store/two.png", "ir/x", "vi/x")
    (root / "ir" / "1.png").symlink_to(root / "store" / "one.png")
    (root / "vi" / "1.png").symlink_to(root / "store" / "two.png")
    assert pairs(root) == {"1": ("ir/1.png", "vi/1.png")}


@brings("pairs", "two single files", "works", "one pair, whatever they are called")
def test_two_files_are_a_pair(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/hot.png", "b/seen.jpg", "b/other.jpg")
    layout = FolderLayout(infrared="a/hot.png", visible=str(root / "b" / "seen.jpg"))
    assert pairs(root, layout) == {"seen": ("a/hot.png", "b/seen.jpg")}


def test_one_file_and_a_folder_pair_by_name(tmp_path: Path) -> None:
    root = touch(tmp_path, "hot/7.png", "b/7.jpg", "b/8.jpg")
    dataset = FolderDataset(root, layout=FolderLayout(infrared="hot/7.png", visible="b"))
    assert dataset.names == ["7"]
    assert dataset.pairing.complete  # nobody asked for 8


@brings("pairs", "a pattern that captures letters", "works", "names keep the visible picture's case")
def test_names_keep_their_case(tmp_path: Path) -> None:
    root = touch(tmp_path, "ir/therm-Scene12.png", "vi/Scene12-cam.png")
    assert list(pairs(root, FolderLayout(pattern=r"([Ss]cene\d+)"))) == ["Scene12"]


@brings(
    "pairs", "masks or depth beside the two folders of a sequence", "reported", "pictures that are neither are left out"
)
def test_pictures_that_say_nothing_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = touch(tmp_path, "a/ir/1.png", "a/vi/1.png", "a/masks/1.png")
    dataset = FolderDataset(root)
    assert dataset.names == ["a_1"]
    assert [path.name for path in dataset.pairing.unmarked] == ["1.png"]
    assert "1 picture(s) that neither a folder nor a name calls infrared or visible" in caplog.text


def test_folders_beside_pictures_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = touch(tmp_path, "ir/1.png", "vi/1.png", "ir/more/2.png", "vi/more/2.png", "vi/notes/2.txt")
    assert list(pairs(root)) == ["1"]
    assert "2 folder(s) of pictures that have pictures beside them" in caplog.text


@pytest.mark.parametrize(
    ("folders", "stem", "expected"),
    [
        ((), "FLIR_00006", None),
        ((), "0001_ir", "infrared"),
        ((), "carLight_VI", "visible"),
        ((), "ir_vis_0001", None),
        (("set00", "V000"), "I01216", None),
        (("set00", "V000", "LWIR"), "I01216", "infrared"),
        (("visible",), "0001_ir", "visible"),
        (("video",), "0001", None),
        (("T",), "0001", "infrared"),
    ],
)
def test_what_says_which_picture_it_is(folders: tuple[str, ...], stem: str, expected: str | None) -> None:
    assert modality_of(folders, stem) == expected


def test_words_are_left_out_of_keys() -> None:
    stems = ("0001_ir", "ir-0001", "a_vis_b", "FLIR_00006_PreviewData", "IR1", "FLIR", "00001i", "rgb")
    assert [bare_stem(stem) for stem in stems] == ["0001", "0001", "a_b", "FLIR_00006", "1", "FLIR", "00001", ""]
    assert bare_folders(["set00", "lwir", "images_rgb_train", "seq1_ir"]) == ("set00", "train", "seq1")


def test_names_are_unique_whatever_folders_are_called() -> None:
    assert pair_names([("train", "1"), ("test", "2")]) == ["1", "2"]
    assert pair_names([("train", "1"), ("test", "1")]) == ["train_1", "test_1"]
    assert pair_names([("a_b", "c"), ("a", "b_c")]) == ["a_b__c", "a__b_c"]
    (long,) = pair_names([("x" * 150, "y" * 150)])
    assert len(long.encode()) <= 200


def test_ends_of_paths_are_names_of_results() -> None:
    ends = path_ends(Path("/data/set00/V000/lwir/I01216.jpg"))
    assert ends == ["i01216", "v000_i01216", "set00_v000_i01216", "data_set00_v000_i01216"]
