"""`data import`: from a memory card to a folder that trains, with a word on whatever was left out."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ivif.commands.cli import main
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.io import read_image
from ivif.datamodules.datasets.palettes import palette_colours
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.temperatures import as_celsius, from_centikelvin
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.whole import whole_file
from ivif.inference.video.footage import footage_of
from tests.camera_files import dji_jpeg, exif, flir_jpeg, jpeg, photo, warm_scene, with_dji_library
from tests.refusals import refused
from tests.videos import colour_frames, grey_frames, read_video, write_video


def imported(out: Path) -> dict[str, list[dict[str, str]]]:
    """The report of an import."""
    content: dict[str, list[dict[str, str]]] = json.loads((out / "import.json").read_text())
    return content


def reasons(out: Path) -> dict[str, str]:
    """Why each file was left out."""
    return {Path(entry["file"]).name: entry["reason"] for entry in imported(out)["left_out"]}


def test_flir_gives_temperatures_and_the_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    card.mkdir()
    (card / "FLIR0001.jpg").write_bytes(flir_jpeg(warm_scene(1), photo(1), as_png=True))
    (card / "FLIR0002.jpg").write_bytes(flir_jpeg(warm_scene(2), photo(2)))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    assert "2 pairs in" in capsys.readouterr().out
    assert json.loads((out / "ir" / "thermal.json").read_text()) == {"unit": "centikelvin"}
    for number in (1, 2):
        stored = read_image(out / "ir" / f"FLIR000{number}.png")
        assert stored.dtype == np.uint16
        np.testing.assert_allclose(from_centikelvin(stored), warm_scene(number), atol=0.05)  # raw values are whole
        seen = read_image(out / "vi" / f"FLIR000{number}.png")
        assert np.abs(seen.astype(int) - np.asarray(photo(number))).mean() < 3


def test_the_photograph_is_cut_to_what_the_thermal_picture_shows(tmp_path: Path) -> None:
    card, out, whole = tmp_path / "card", tmp_path / "out", photo(3, (96, 128))
    card.mkdir()
    (card / "FLIR0001.jpg").write_bytes(flir_jpeg(warm_scene(), whole, ratio=2, offset=(8, -4)))
    (card / "FLIR0002.jpg").write_bytes(flir_jpeg(warm_scene(), whole, ratio=1.0, offset=(8, -4)))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    seen = read_image(out / "vi" / "FLIR0001.png").astype(int)
    expected = np.asarray(whole)[20:68, 40:104].astype(int)  # half of each side, moved
    assert seen.shape == (48, 64, 3)
    assert np.abs(seen - expected).mean() < 3
    assert read_image(out / "vi" / "FLIR0002.png").shape == (96, 128, 3)  # what lies outside of it is none


def test_pairs_are_found_by_name_and_else_by_time_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card, out = tmp_path / "DCIM", tmp_path / "out"
    folder = card / "100MEDIA"
    folder.mkdir(parents=True)
    thermal = {
        "DJI_0001_T.JPG": warm_scene(1), "DJI_0005.JPG": warm_scene(5), "DJI_0007.JPG": warm_scene(7),
        "DJI_0009.JPG": warm_scene(9),
    }  # fmt: skip
    with_dji_library(monkeypatch, thermal)
    here, there = (47.0, 8.0), (47.01, 8.0)
    (folder / "DJI_0001_T.JPG").write_bytes(dji_jpeg(time="2026:05:01 10:00:00", place=here))
    (folder / "DJI_0001_W.JPG").write_bytes(jpeg(photo(1), exif=exif("2026:05:01 10:00:01", here, "DJI")))
    (folder / "DJI_0001_Z.JPG").write_bytes(jpeg(photo(2), exif=exif("2026:05:01 10:00:00", here, "DJI")))
    (folder / "DJI_0005.JPG").write_bytes(dji_jpeg(time="2026:05:01 10:00:10", place=here, part="25"))
    (folder / "DJI_0006.JPG").write_bytes(jpeg(photo(3), exif=exif("2026:05:01 10:00:11", here, "DJI")))
    (folder / "DJI_0007.JPG").write_bytes(dji_jpeg(time="2026:05:01 10:00:20", place=here))
    (folder / "DJI_0008.JPG").write_bytes(jpeg(photo(4), exif=exif("2026:05:01 10:00:20", there, "DJI")))
    (folder / "DJI_0009.JPG").write_bytes(dji_jpeg(time="2026:05:01 10:00:30"))
    (folder / "DJI_0010.JPG").write_bytes(jpeg(photo(5), exif=exif("2026:05:01 10:00:31")))
    (folder / "DJI_0011.JPG").write_bytes(jpeg(photo(6), exif=exif("2026:05:01 10:00:29")))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    found = {entry["name"]: (Path(entry["visible"]).name, entry["by"]) for entry in imported(out)["pairs"]}
    assert found == {
        "100MEDIA/DJI_0001": ("DJI_0001_W.JPG", "name"),
        "100MEDIA/DJI_0005": ("DJI_0006.JPG", "time and place"),
    }
    left = reasons(out)
    assert left.keys() == {f"DJI_{name}.JPG" for name in ("0001_Z", "0007", "0008", "0009", "0010", "0011")}
    assert "no visible picture that is free" in left["DJI_0007.JPG"]  # a kilometre away
    assert "several pictures" in left["DJI_0009.JPG"]
    assert (out / "vi/100MEDIA/DJI_0001.jpg").read_bytes() == (folder / "DJI_0001_W.JPG").read_bytes()
    assert "1 by name, 1 by time and place" in capsys.readouterr().out


def test_the_imported_folder_is_read_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    card.mkdir()
    for number in range(10):
        (card / f"FLIR{number:04d}.jpg").write_bytes(flir_jpeg(warm_scene(number), photo(number)))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    line = capsys.readouterr().out.splitlines()[-1].strip().removeprefix("ivif ")
    fixed = ["--data.reading.thermal_range.mode=fixed", "--data.reading.thermal_range.low=10"]
    assert (
        main([*shlex.split(line), *fixed, "--data.reading.thermal_range.high=35", f"--out={tmp_path / 'check'}"]) == 0
    )
    assert "12 pairs checked, no problems" in capsys.readouterr().out
    dataset = FolderDataset(out, reading=ReadingConfig(thermal_range=ThermalRange("fixed", 10, 35)))
    np.testing.assert_allclose(
        dataset[3]["infrared"][0, ::4, ::4].numpy().max(), (31.5 - 10) / 25, atol=0.02
    )  # degrees, of hundredths of a kelvin


@pytest.mark.parametrize(("unit", "numbers"), [("celsius", 1.0), ("kelvin", 1.0), ("centikelvin", 100.0)])
@pytest.mark.parametrize("store", ["centikelvin", "celsius"])
def test_tiff_is_of_the_unit_that_is_said(unit: str, numbers: float, store: str, tmp_path: Path) -> None:
    card, out, celsius = tmp_path / "card", tmp_path / "out", warm_scene()
    card.mkdir()
    kelvin = celsius + (0 if unit == "celsius" else 273.15)
    values = (kelvin * numbers).astype(np.uint16 if unit == "centikelvin" else np.float32)
    tifffile.imwrite(card / "a_ir.tif", values, compression="zlib", predictor=True)
    (card / "a_vis.jpg").write_bytes(jpeg(photo()))
    assert main(["data", "import", str(card), "--out", str(out), "--unit", unit, "--store", store]) == 0
    (written,) = (path for path in (out / "ir").iterdir() if path.suffix != ".json")
    stored = read_image(written)
    assert stored.dtype == (np.uint16 if store == "centikelvin" else np.float32)
    np.testing.assert_allclose(as_celsius(written, stored), celsius, atol=0.011)


def test_numbers_without_a_unit_stay_what_the_sensor_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, out, counts = tmp_path / "card", tmp_path / "out", np.arange(192, dtype=np.uint32).reshape(12, 16) + 7000
    card.mkdir()
    tifffile.imwrite(card / "a_ir.tif", counts)
    (card / "a_vis.jpg").write_bytes(jpeg(photo()))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    assert np.array_equal(read_image(out / "ir" / "a.png"), counts)
    assert json.loads((out / "ir" / "thermal.json").read_text()) == {"unit": "counts"}
    assert "the sensor's numbers" in capsys.readouterr().out


def test_pages_and_videos_become_folders_of_frames(tmp_path: Path) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    card.mkdir()
    thermal = [(np.full((12, 16), 29000 + 100 * step)).astype(np.uint16) for step in range(9)]
    visible = [np.full((24, 32, 3), 9 * step, dtype=np.uint8) for step in range(27)]
    write_video(card / "flight_ir.mkv", thermal, 9)
    write_video(card / "flight_rgb.mkv", visible, 27)
    tifffile.imwrite(card / "stack_ir.tif", np.stack(thermal[:2]))
    tifffile.imwrite(card / "stack_rgb.tif", np.stack(visible[5:7]), photometric="rgb")
    (card / "FLIR0001.jpg").write_bytes(flir_jpeg(warm_scene(), photo()))
    line = ["data", "import", str(card), "--out", str(out), "--unit", "centikelvin", "--every", "2"]
    assert main(line) == 0
    names = FolderDataset(out).names
    assert names == ["flight_000000", "flight_000002", "flight_000004", "flight_000006", "flight_000008",
                     "pictures_FLIR0001", "stack_000000"]  # fmt: skip
    assert np.array_equal(read_image(out / "ir/flight/000004.png"), thermal[4])
    assert np.array_equal(read_image(out / "vi/flight/000004.png"), visible[12])  # three times as many a second
    assert np.array_equal(read_image(out / "vi/stack/000000.png"), visible[5])
    assert len(FolderDataset(out).sequences()) == 3


def test_frames_are_stored_as_a_player_shows_them(tmp_path: Path) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    write_video(card / "walk_ir.mkv", grey_frames([9, 9], (48, 32), deep=True))
    lying = write_video(card / "walk_rgb.mov", colour_frames(2, (720, 960)), kind="h264", turned=90)
    assert main(["data", "import", str(card), "--out", str(out), "--unit", "counts"]) == 0
    upright = next(footage_of(lying, False, 25).frames()).pixels
    assert upright.shape == (960, 720, 3)
    assert np.array_equal(read_image(out / "vi/walk/000000.png"), upright)
    as_bt601 = np.rot90(read_video(lying)[1][0])  # what FFmpeg takes where a video does not say its colours
    assert np.abs(upright.astype(int) - as_bt601).max() > 9


def test_false_colours_become_intensities(tmp_path: Path) -> None:
    card, out, level = tmp_path / "card", tmp_path / "out", np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    card.mkdir()
    Image.fromarray(palette_colours("iron")[level]).save(card / "a.png")
    (card / "a_vis.jpg").write_bytes(jpeg(photo()))
    Image.fromarray(palette_colours("iron")[level]).save(card / "b.png")
    Image.fromarray(level).save(card / "c.png")
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    assert np.array_equal(read_image(out / "ir" / "a.png"), level)
    assert not (out / "ir" / "thermal.json").exists()
    assert "NAME_ir" in reasons(out)["c.png"]


def test_what_is_no_use_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    card.mkdir()
    (card / "good.jpg").write_bytes(flir_jpeg(warm_scene(), photo()))
    (card / "msx.jpg").write_bytes(jpeg(photo(), exif=exif(make="FLIR Systems AB")))
    (card / "drone_01_T.JPG").write_bytes(dji_jpeg())
    (card / "drone_01_W.JPG").write_bytes(jpeg(photo(), exif=exif(make="DJI")))
    (card / "film.seq").write_bytes(b"FFF\0" + bytes(80))
    (card / "counts.raw").write_bytes(bytes(80))
    (card / "flight.srt").write_text("1\n")
    (card / "hot.jpg").write_bytes(flir_jpeg(warm_scene() + 360, photo()))
    assert main(["data", "import", str(card), "--out", str(out)]) == 0
    left = reasons(out)
    assert "MSX" in left["msx.jpg"]
    assert "DJI's R-JPEG needs dji_thermal_cli: pip install dji-thermal-cli" in left["drone_01_T.JPG"]
    assert "export it as radiometric JPEG" in left["film.seq"]
    assert "16-bit TIFF" in left["counts.raw"]
    assert left["flight.srt"] == "no picture or video"
    assert "--store celsius" in left["hot.jpg"]
    shown = capsys.readouterr().out
    assert all(reason in shown for reason in left.values())
    assert [path.name for path in (out / "ir").glob("*.png")] == ["good.png"]


def test_a_killed_import_goes_on_and_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, once, twice = tmp_path / "card", tmp_path / "once", tmp_path / "twice"
    card.mkdir()
    for number in range(4):
        (card / f"FLIR{number:04d}.jpg").write_bytes(flir_jpeg(warm_scene(number), photo(number)))
    write_video(card / "flight_ir.mkv", [np.full((12, 16), 29000 + step, dtype=np.uint16) for step in range(4)])
    write_video(card / "flight_rgb.mkv", [np.full((24, 32, 3), step, dtype=np.uint8) for step in range(4)])
    line = ["data", "import", str(card), "--unit", "centikelvin"]
    assert main([*line, "--out", str(once)]) == 0
    whole = {path.relative_to(once): path.read_bytes() for path in once.rglob("*") if path.is_file()}
    for place in (0, 1, 2, 4, 5):
        with monkeypatch.context() as patch:
            _dies_at(patch, place)
            assert main([*line, "--out", str(twice)]) == 130
        assert all(path.read_bytes() == whole[path.relative_to(twice)] for path in twice.rglob("*.*g"))
    assert main([*line, "--out", str(twice)]) == 0
    assert {path.relative_to(twice): path.read_bytes() for path in twice.rglob("*") if path.is_file()} == whole


def _dies_at(patch: pytest.MonkeyPatch, place: int) -> None:
    """Ends the process, as it were, in the middle of the n-th file."""
    count = iter(range(place + 1))

    def dying(path: Path, durable: bool = True) -> object:
        if next(count, None) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}-0123456789abcdef.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return whole_file(path, durable)

    patch.setattr("ivif.commands.data.plane_files.whole_file", dying)


def test_another_import_in_the_same_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, out = tmp_path / "card", tmp_path / "out"
    card.mkdir()
    (card / "FLIR0001.jpg").write_bytes(flir_jpeg(warm_scene(), photo()))
    line = ["data", "import", str(card)]
    assert main([*line, "--out", str(out)]) == 0
    refused([*line, "--out", str(out), "--store", "celsius"], capsys, "give the same to go on")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    refused([*line, "--out", str(tmp_path / "mine")], capsys, "no import of this command")
    refused([*line, "--out", str(card / "out")], capsys, "apart from")
    refused(["data", "import", str(tmp_path / "none"), "--out", str(tmp_path / "new")], capsys, "There is no file or")
    assert main(["data", "import", str(tmp_path / "mine"), "--out", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()
