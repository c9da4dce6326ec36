"""Folders of pairs: what cannot be paired is refused, what is not used is told, commands name what is damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.io import to_infrared
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.errors import DatasetError, PairingError, UnreadableFileError
from tests.commands.runs import tiny_run
from tests.fakes import write_folder
from tests.hostile.damaged_images import REFUSED
from tests.hostile.images import COLOR, DEEP, GREY, encode
from tests.refusals import accepted, refusal, refused

REMEDY = "remove its pair from the dataset"


def _dataset(place: Path, **files: Any) -> Path:
    """A folder of pairs; keys are like `ir_1` and `vi_1`, arrays become PNGs."""
    root = place / "data"
    for key, content in files.items():
        folder, _, name = key.partition("_")
        path = root / folder / (name if "." in name else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
    return root


def test_infrared_in_three_equal_channels_is_the_stored_value(place: Path) -> None:
    grey = np.stack([GREY] * 3, axis=-1)
    sample = FolderDataset(_dataset(place, ir_a=grey, vi_a=COLOR))[0]
    assert np.array_equal(sample["infrared"][0].numpy(), GREY)


def test_infrared_in_colour_is_its_luma_where_asked(place: Path) -> None:
    luma = ReadingConfig(infrared_color="luma")
    sample = FolderDataset(_dataset(place, ir_a=COLOR, vi_a=COLOR), reading=luma)[0]
    weighted = COLOR.astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(sample["infrared"][0].numpy() - weighted).max() <= 0.51


def test_sixteen_bits_are_scaled_by_their_type_where_asked(place: Path) -> None:
    root = _dataset(place, **{"ir_a.tif": DEEP, "vi_a": COLOR})
    sample = FolderDataset(root, reading=ReadingConfig(ThermalRange("type")))[0]
    assert np.allclose(sample["infrared"][0].numpy(), DEEP / 65535, atol=1e-7)


@pytest.mark.parametrize("mode", ["minmax", "percentile", "fixed"])
def test_a_constant_thermal_image_stays_finite(mode: str) -> None:
    flat = np.full((4, 4), 7000, dtype=np.uint16)
    scaled = to_infrared(flat, ThermalRange(mode, high=10_000 if mode == "fixed" else None))  # type: ignore[arg-type]
    assert scaled.isfinite().all()
    assert float(scaled.max()) == pytest.approx(0.7 if mode == "fixed" else 0.0)


def test_temperatures_as_floats_need_a_range(place: Path) -> None:
    kelvin = np.linspace(280, 310, 16, dtype=np.float32).reshape(4, 4)
    root = _dataset(place, **{"ir_a.tif": kelvin, "vi_a": COLOR[:4, :4]})
    plain = FolderDataset(root, reading=ReadingConfig(ThermalRange("type")))
    refusal(lambda: plain[0], UnreadableFileError, "a.tif", "280", "310", "thermal_range", "auto")


@pytest.mark.parametrize("size", [(5, 5), (22, 26), (1, 13), (30, 7)], ids=str)
def test_another_infrared_size_is_resized_with_a_word(
    size: tuple[int, int], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = np.full(size, 99, dtype=np.uint8)
    sample = FolderDataset(_dataset(place, ir_a=small, vi_a=COLOR))[0]
    assert sample["infrared"].shape == (1, *COLOR.shape[:2])
    assert set(sample["infrared"].flatten().tolist()) == {99}
    assert f"{size[1]}x{size[0]} to {COLOR.shape[1]}x{COLOR.shape[0]}" in caplog.text


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("ir_x.png", "ir_x.jpg", "vi_x.png"), ("x.jpg", "x.png", "Keep one")),
        (("ir_x.png", "vi_x.png", "vi_X.PNG"), ("X.PNG", "x.png", "Keep one")),
        (("ir_x.png", "vi_y.png"), ("x.png", "y.png", "same stem", "layout.pairs")),
        (("ir_x.gif", "vi_x.gif"), ("holds no images but x.gif", ".png")),
        (("ir_x.npy", "vi_x.png"), ("holds no images but x.npy", ".png")),
        (("ir_.hidden.png", "vi_x.png"), ("holds no images", ".png")),
        (("ir_x.png",), ("vi/*", "DATASETS.md")),
    ],
    ids=["stem twice", "case alone differs", "no partner", "other format", "arrays", "hidden alone", "no folder"],
)
def test_folders_that_cannot_be_paired_are_refused(files: tuple[str, ...], words: tuple[str, ...], place: Path) -> None:
    root = _dataset(place, **{file: encode(COLOR, "PNG") for file in files})
    refusal(lambda: FolderDataset(root), DatasetError, str(root), *words)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("ir_lonely.png", "lonely.png"),
        ("vi_lonely.png", "lonely.png"),
        ("vi_b.gif", "1 file(s) of other endings"),
        ("ir_b.jp2", "b.jp2"),
        ("vi_b.heic", "b.heic"),
    ],
)
def test_files_that_are_not_used_are_told(
    extra: str, words: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = _dataset(place, ir_a=GREY, vi_a=COLOR, **{extra: encode(COLOR, "PNG")})
    assert FolderDataset(root).names == ["a"]
    assert words in caplog.text


def test_notes_beside_images_are_no_images(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes = {f"vi_{name}": b"" for name in ("Thumbs.db", "desktop.ini", "README.md", "notes.TXT", ".DS_Store")}
    assert FolderDataset(_dataset(place, ir_a=GREY, vi_a=COLOR, **notes)).names == ["a"]
    assert caplog.text == ""


def test_a_folder_that_is_called_like_an_image_is_named(place: Path) -> None:
    root = _dataset(place, ir_a=GREY, vi_a=COLOR, ir_b=GREY)
    (root / "vi" / "b.png").mkdir()
    dataset = FolderDataset(root)
    refusal(lambda: dataset[1], UnreadableFileError, "b.png", "a folder", REMEDY)


def test_folders_that_link_to_each_other_do_not_hang(place: Path) -> None:
    root = _dataset(place, ir_a=GREY, vi_a=COLOR)
    (root / "ir" / "again").symlink_to(root)
    (root / "self").symlink_to("self")
    assert FolderDataset(root).names == ["a"]
    refusal(lambda: FolderDataset(root / "self"), DatasetError, "self")


@pytest.mark.parametrize("pattern", ["(", "x", "(a)(b)", ""])
def test_patterns_that_cannot_work_are_refused(pattern: str, place: Path) -> None:
    root = _dataset(place, ir_q=GREY, vi_r=COLOR)
    refusal(lambda: FolderDataset(root, layout=FolderLayout(pattern=pattern)), PairingError, pattern, "pattern")


CHECKED = (
    "nothing.png",
    "text.png",
    "cut-half.png",
    "animation.webp",
    "huge-header.png",
    "nan.tif",
    "negative.tif",
)


@pytest.mark.parametrize("name", CHECKED)
def test_data_check_names_each_damaged_file(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=3, size=(12, 14))
    victim = (root / "ir" / "001.png").with_suffix(Path(name).suffix)
    (root / "ir" / "001.png").unlink()
    victim.write_bytes(REFUSED[name][0]())
    code = main(["data", "check", *_data(root), "--data.init_args.train_fraction=0", f"--out={place / 'out'}"])
    printed = capsys.readouterr().out
    assert code == 1
    assert "Traceback" not in printed
    assert f"PROBLEM: Cannot read '{victim}'" in printed
    assert REFUSED[name][1] in printed
    assert "6 pairs checked, 1 problem(s)" in printed
    assert sorted(path.name for path in (place / "out").iterdir()) == ["contact_sheet.png", "report.txt"]


def _data(root: Path) -> list[str]:
    return ["--data=folder.yaml", f"--data.init_args.root={root}"]


def test_data_check_notes_what_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(12, 14))
    (root / "vi" / "000.gif").write_bytes(encode(COLOR, "GIF"))
    printed = accepted(["data", "check", *_data(root), "--data.init_args.train_fraction=0"], capsys)
    assert "1 file(s) of other endings" in printed
    assert "000.gif" in printed


@pytest.mark.parametrize("name", ["cut-half.jpg", "animation.png", "document.png"])
def test_report_names_each_damaged_file(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(24, 26))
    fused = place / "fused"
    fused.mkdir()
    (fused / f"000{Path(name).suffix}").write_bytes(REFUSED[name][0]())
    Image.fromarray(np.full((24, 26), 9, dtype=np.uint8)).save(fused / "001.png")
    printed = " ".join(accepted(_report(root, fused, place), capsys).split())
    assert f"000{Path(name).suffix}" in printed
    assert REFUSED[name][1] in printed


def _report(root: Path, fused: Path, place: Path) -> list[str]:
    folders = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={fused}"]
    return ["report", "score", *folders, "--metrics=EN", "--classic=false", f"--out={place / 'tables'}"]


def test_report_with_nothing_readable_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=1, size=(12, 14))
    fused = place / "fused"
    fused.mkdir()
    (fused / "000.png").mkdir()
    refused(_report(root, fused, place), capsys, "fused", "could be scored", "000.png", "a folder")
    assert not (place / "tables").exists()


@pytest.mark.parametrize(
    ("command", "name"),
    [("fit", "text.png"), ("fit", "huge-header.png"), ("test", "animation.webp"), ("predict", "nan.tif")],
)
def test_runs_end_at_a_damaged_picture_with_its_name(
    command: str, name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(place / "data", count=2, size=(48, 56))
    for number in range(2):
        (root / "ir" / f"{number:03d}.png").unlink()
        (root / "ir" / f"{number:03d}{Path(name).suffix}").write_bytes(REFUSED[name][0]())
    data = (*_data(root), f"--data.init_args.train_fraction={int(command == 'fit')}")
    options = [] if command == "fit" else ["--allow_random_weights"]
    refused(tiny_run(command, place / "runs", *options, data=data), capsys, "Cannot read", REFUSED[name][1], REMEDY)
    assert {path.name for path in place.iterdir()} == {"data"}
