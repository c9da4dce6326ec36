"""Damaged and malicious files of cameras: left out by name, with a reason, and the others are imported."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ivif.commands.cli import main
from tests.camera_files import flir_file, flir_jpeg, jpeg, photo, raw_of, warm_scene, with_parts
from tests.hostile.images import encode, png
from tests.videos import write_video

RAW, PHOTO, CAMERA = 1, 14, 32


def _flir(**records: bytes) -> bytes:
    """A radiometric JPEG in which some records are replaced."""
    height, width = warm_scene().shape
    plain = struct.pack("<3H26x", 2, width, height)
    found = {RAW: plain + raw_of(warm_scene()).astype("<u2").tobytes(), CAMERA: _camera(), PHOTO: plain + jpeg(photo())}
    named = {"raw": RAW, "camera": CAMERA, "photo": PHOTO}
    return flir_jpeg(warm_scene(), records=found | {named[name]: record for name, record in records.items()})


def _camera() -> bytes:
    whole = flir_jpeg(warm_scene())
    start = whole.index(b"FFF\0")
    place, length = struct.unpack_from(">2I", whole, start + 64 + 32 + 12)
    return whole[start + place : start + place + length]


def _sized(width: int, height: int, content: bytes = b"") -> bytes:
    return struct.pack("<3H26x", 2, width, height) + content


def _many_records() -> bytes:
    data = bytearray(flir_file({RAW: bytes(40)}))
    struct.pack_into(">I", data, 28, 2**32 - 1)
    return with_parts(jpeg(photo()), (0xE1, b"FLIR\0\1\0\0" + bytes(data)))


def _tiff(**tags: int) -> bytes:
    """A TIFF of which some numbers are others than those of its pixels."""
    import io

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.full((12, 16), 300, dtype=np.uint16))
    data = bytearray(stream.getvalue())
    places = {"width": 256, "height": 257}
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        for name, value in tags.items():
            tag = tiff.pages[0].tags[places[name]]  # type: ignore[union-attr]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, value)
    return bytes(data)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "cut-in-the-records.jpg": lambda: flir_jpeg(warm_scene(), photo())[:900],
    "cut-after-the-mark.jpg": lambda: b"\xff\xd8\xff",
    "a-part-missing.jpg": lambda: with_parts(jpeg(photo()), (0xE1, b"FLIR\0\1\0\3" + flir_file({RAW: bytes(40)}))),
    "a-part-twice.jpg": lambda: with_parts(jpeg(photo()), *[(0xE1, b"FLIR\0\1\0\1" + bytes(40))] * 2),
    "no-directory.jpg": lambda: with_parts(jpeg(photo()), (0xE1, b"FLIR\0\1\0\0" + bytes(200))),
    "four-billion-records.jpg": _many_records,
    "raw-too-short.jpg": lambda: _flir(raw=_sized(640, 512, bytes(100))),
    "raw-of-no-size.jpg": lambda: _flir(raw=_sized(0, 0)),
    "raw-bomb.jpg": lambda: _flir(raw=_sized(60000, 60000, png((60000, 60000), b"", 16))),
    "raw-other-size.jpg": lambda: _flir(raw=_sized(9, 9, encode(np.zeros((4, 4), np.uint16), "PNG"))),
    "photo-bomb.jpg": lambda: _flir(photo=_sized(60000, 60000, png((60000, 60000), b"", 8))),
    "photo-runs-programs.jpg": lambda: _flir(photo=_sized(9, 9, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
    "constants-zero.jpg": lambda: _flir(camera=bytes(900)),
    "constants-missing.jpg": lambda: _flir(camera=bytes(10)),
    "constants-no-numbers.jpg": lambda: _flir(camera=b"\xff" * 900),
    "bomb_ir.tif": lambda: _tiff(width=60000, height=60000),
    "longer-than-it-is_ir.tif": lambda: _tiff(height=48),
    "cut_ir.tif": lambda: _tiff()[:-30],
    "no-tiff_ir.tif": lambda: b"II*\0" + bytes(40),
    "no-video_ir.mkv": lambda: b"\x1aE\xdf\xa3" + bytes(400),
    "playlist_ir.mp4": lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "program_ir.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "empty_ir.jpg": lambda: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_left_out_and_others_imported(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "card").mkdir()
    (place / "card" / name).write_bytes(HOSTILE[name]())
    stem = Path(name).stem
    (place / "card" / f"{stem.removesuffix('_ir')}_vis{'.png' if '_ir' in stem else '.txt'}").write_bytes(
        encode(np.asarray(photo()), "PNG")
    )
    (place / "card" / "good.jpg").write_bytes(flir_jpeg(warm_scene(), photo()))
    assert main(["data", "import", "card", "--out", "out"]) == 0
    report = json.loads((place / "out" / "import.json").read_text())
    assert [entry["name"] for entry in report["pairs"]] == ["good"]
    (reason,) = [entry["reason"] for entry in report["left_out"] if Path(entry["file"]).name == name]
    assert "no visible picture that is free" not in reason
    captured = capsys.readouterr()
    assert reason.partition("'")[0] in captured.out
    assert "Traceback" not in captured.out + captured.err
    assert not list(place.rglob("*.partial"))
    assert [path.name for path in (place / "out" / "vi").iterdir()] == ["good.png"]


def test_a_wrong_ending_does_not_matter(place: Path) -> None:
    (place / "card").mkdir()
    (place / "card" / "a.png").write_bytes(flir_jpeg(warm_scene(), photo()))
    (place / "card" / "b_ir.jpg").write_bytes(encode(np.full((12, 16), 300, np.uint16), "TIFF"))
    (place / "card" / "b_vis.tif").write_bytes(encode(np.asarray(photo()), "PNG"))
    assert main(["data", "import", "card", "--out", "out", "--unit", "centikelvin"]) == 0
    assert sorted(path.name for path in (place / "out" / "vi").iterdir()) == ["a.png", "b.png"]
    assert Image.open(place / "out" / "vi" / "b.png").format == "PNG"


def test_a_video_cut_off_gives_what_came_before(place: Path) -> None:
    (place / "card").mkdir()
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 65535, (48, 64), dtype=np.uint16) for _ in range(8)]
    film = write_video(place / "card" / "film_ir.mkv", frames)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    write_video(place / "card" / "film_vis.mkv", [np.full((48, 64, 3), step, np.uint8) for step in range(8)])
    assert main(["data", "import", "card", "--out", "out"]) == 0
    count = len(list((place / "out" / "ir" / "film").glob("*.png")))
    assert 2 <= count < 8
    assert len(list((place / "out" / "vi" / "film").glob("*.png"))) == count


@pytest.mark.parametrize("text", ["{", "[]", '{"unit": "fahrenheit"}', '{"unit": []}', "[" * 100_000, '{"unit": 3}'])
def test_a_damaged_statement_of_units_is_named(text: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "card").mkdir()
    (place / "card" / "good.jpg").write_bytes(flir_jpeg(warm_scene(), photo()))
    assert main(["data", "import", "card", "--out", "out"]) == 0
    (place / "out" / "ir" / "thermal.json").write_text(text)
    assert main(["data", "check", "--data=folder.yaml", "--data.root=out", "--out=check"]) == 1
    assert "thermal.json" in capsys.readouterr().out
