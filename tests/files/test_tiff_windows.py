"""Parts of TIFF files, against the arrays that they were written from."""

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ivif.files import tiff_windows
from ivif.files.errors import UnreadableFileError
from ivif.files.tiff_layout import is_tiff
from ivif.files.tiff_windows import opened
from tests.refusals import refusal

ROWS, COLUMNS = slice(5, 66), slice(17, 100)
HEIGHT, WIDTH = 70, 101


def pixels(kind: str, channels: int) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    numbers = np.random.default_rng(0).integers(0, 256 if kind == "uint8" else 65536, shape)
    return (numbers / 65536).astype(kind) if kind == "float32" else numbers.astype(kind)


def write(path: Path, values: np.ndarray, **how: Any) -> Path:
    colour = values.ndim == 3
    extra = {"extrasamples": ["unassalpha"]} if colour and values.shape[2] == 4 else {}
    options = {"photometric": "rgb" if colour else "minisblack", "metadata": None, **extra, **how}
    tifffile.imwrite(path, np.moveaxis(values, -1, 0) if how.get("planarconfig") == "separate" else values, **options)
    return path


def part(path: Path, rows: slice = ROWS, columns: slice = COLUMNS) -> np.ndarray:
    with opened(path) as picture:
        return picture.read(rows, columns)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", [{"tile": (32, 48)}, {"rowsperstrip": 16}, {"rowsperstrip": HEIGHT}])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
def test_any_part_is_what_was_written(
    kind: str, layout: dict[str, Any], compression: str | None, tmp_path: Path
) -> None:
    for channels, order, big in itertools.product((1, 3, 4), "<>", (False, True)):
        values = pixels(kind, channels)
        whole = values if channels == 1 else values[..., :3]
        for predictor in (False, True) if compression and kind != "float32" else (False,):
            path = write(
                tmp_path / "a.tif",
                values,
                compression=compression,
                predictor=predictor,
                byteorder=order,
                bigtiff=big,
                **layout,
            )
            assert np.array_equal(part(path), whole[ROWS, COLUMNS])
            assert np.array_equal(part(path, slice(0, HEIGHT), slice(0, WIDTH)), whole)


@pytest.mark.parametrize("layout", [{"tile": (32, 48)}, {"rowsperstrip": 16}])
def test_planes_stored_apart_are_put_together(layout: dict[str, Any], tmp_path: Path) -> None:
    values = pixels("uint16", 3)
    path = write(tmp_path / "a.tif", values, planarconfig="separate", compression="zlib", predictor=True, **layout)
    assert np.array_equal(part(path), values[ROWS, COLUMNS])


def test_pieces_are_decoded_once_while_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = pixels("uint8", 3)
    path = write(tmp_path / "a.tif", values, tile=(32, 32), compression="zlib")
    read: list[int] = []
    bytes_of = tiff_windows.TiffWindows._bytes

    def counted(picture: tiff_windows.TiffWindows, begin: int, length: int) -> bytes:
        read.append(begin)
        return bytes_of(picture, begin, length)

    monkeypatch.setattr(tiff_windows.TiffWindows, "_bytes", counted)
    with opened(path) as picture:
        for column in range(0, 96, 16):
            picture.read(slice(0, 32), slice(column, column + 16))
        assert len(read) == 3
        picture.read(slice(40, 60), slice(0, 32))
        assert [piece.row for piece in picture._kept] == [32]
        monkeypatch.setattr(tiff_windows, "_KEPT", 1)
        for _ in range(2):
            assert np.array_equal(picture.read(slice(32, 64), slice(0, 64)), values[32:64, :64])
    assert len(read) == 3 + 1 + 3


def test_a_smaller_copy_behind_the_picture_is_passed_over(tmp_path: Path) -> None:
    values = pixels("uint8", 1)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values, tile=(32, 32), metadata=None, subifds=0)
        writer.write(values[::2, ::2], tile=(32, 32), metadata=None, subfiletype=1)
    assert np.array_equal(part(tmp_path / "a.tif"), values[ROWS, COLUMNS])


def test_the_place_on_earth_is_read(tmp_path: Path) -> None:
    scale = (33550, "d", 3, (0.5, 0.5, 0.0), True)
    path = write(tmp_path / "a.tif", pixels("uint8", 3), extratags=[scale])
    with opened(path) as picture:
        assert [(tag[0], tag[3]) for tag in picture.tags] == [(33550, (0.5, 0.5, 0.0))]


@pytest.mark.parametrize(
    ("values", "how", "named"),
    [
        (pixels("uint8", 1).astype(np.int32), {}, "int32"),
        (pixels("uint8", 1), {"photometric": "miniswhite"}, "MINISWHITE"),
        (pixels("uint8", 3), {"compression": "jpeg"}, "JPEG"),
        (pixels("uint8", 4), {"extrasamples": ["assocalpha"]}, "fourth channel"),
        (pixels("float32", 1), {"compression": "zlib", "predictor": True}, "predictor is 3"),
        (pixels("uint8", 1), {"extratags": [(274, "H", 1, 6, True)]}, "on its side"),
        (np.stack([pixels("uint8", 1)] * 2), {}, "2 pages"),
    ],
)
def test_what_is_in_the_way_is_said(values: np.ndarray, how: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    colour = values.ndim == 3 and values.shape[2] in (3, 4)
    tifffile.imwrite(path, values, **{"photometric": "rgb" if colour else "minisblack", "metadata": None, **how})
    refusal(lambda: part(path), UnreadableFileError, str(path), named, "Store it as one page")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_a_file_that_is_cut_off_is_no_black_picture(compression: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", pixels("uint8", 3), tile=(32, 32), compression=compression)
    path.write_bytes(path.read_bytes()[:-400])
    refusal(lambda: part(path), UnreadableFileError, str(path), "cut off")


def test_a_strip_without_all_its_bytes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", pixels("uint8", 1), rowsperstrip=16)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["StripByteCounts"]
        place, kind = tag.valueoffset, tag.dtype
    data = bytearray(path.read_bytes())
    struct.pack_into("<H" if kind == 3 else "<I", data, place, 16)
    path.write_bytes(data)
    refusal(lambda: part(path), UnreadableFileError, str(path), "cut off")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_a_damaged_piece_is_named(compression: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", pixels("uint8", 3), tile=(128, 128), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        begin = tiff.pages.first.dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[begin : begin + 64] = b"\xff" * 64
    path.write_bytes(data)
    refusal(lambda: part(path), UnreadableFileError, str(path), "damaged")


def test_a_piece_does_not_unfold_to_more_than_it_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", np.zeros((HEIGHT, WIDTH), np.uint8), rowsperstrip=HEIGHT, compression="zlib")
    monkeypatch.setattr(tiff_windows, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    refusal(lambda: part(path), UnreadableFileError, str(path), f"{WIDTH}x{HEIGHT}")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = pixels("float32", 1)
    values[20, 30] = np.nan
    refusal(lambda: part(write(tmp_path / "a.tif", values)), UnreadableFileError, "not finite")


def test_tiff_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    assert is_tiff(write(tmp_path / "a.png", pixels("uint8", 1), bigtiff=True))
    (tmp_path / "b.tif").write_bytes(b"\x89PNG")
    assert not is_tiff(tmp_path / "b.tif")
    assert not is_tiff(tmp_path)
