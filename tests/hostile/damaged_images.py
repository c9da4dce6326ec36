"""Damaged image files, and what only looks like one, by name: what stands in each, and the words of its refusal."""

import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from tests.fakes import png_16_bit
from tests.hostile.images import (
    DEEP_COLOR,
    GREY,
    Pixels,
    broken_checksum,
    chunk,
    encode,
    frames,
    palette,
    png,
    unfiltered,
)


def _noise(kind: str, **options: Any) -> bytes:
    return encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), kind, **options)


_CUT: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"lossless": True}),
    "ppm": ("PPM", {}),
}


def _cut(kind: str, options: dict[str, Any], length: int) -> bytes:
    return _noise(kind, **options)[:length]


def _flipped_bit() -> bytes:
    """A PNG whose pixels changed on the disk: stored without compression, so that it still inflates."""
    data = bytearray(_noise("PNG", compress_level=0))
    data[data.index(b"IDAT") + 100] ^= 4
    return bytes(data)


def _spoilt_deep_png() -> bytes:
    data = bytearray(png_16_bit(np.random.default_rng(0).integers(0, 65535, (64, 64, 3), dtype=np.uint16)))
    data[data.index(b"IDAT") + 100] ^= 255
    return bytes(data)


def _tiff_of(values: Pixels) -> bytes:
    return encode(values, "TIFF")


def _with_value(value: float) -> bytes:
    values = np.full((4, 4), 0.5, dtype=np.float32)
    values[1, 2] = value
    return _tiff_of(values)


def _text_bomb() -> bytes:
    return png((1, 1), b"\0\0", extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2_000_000)))


def tiled_tiff(side: int, data: bytes = b"") -> bytes:
    """A TIFF of 10x10 pixels in one deflated tile of `side` x `side`, which libtiff unfolds as a whole."""
    short = {258: 8, 259: 8, 262: 1, 277: 1}
    long = {256: 10, 257: 10, 322: side, 323: side, 324: 8, 325: len(data)}
    entries = b"".join(
        struct.pack("<HHIHH", tag, 3, 1, short[tag], 0) if tag in short else struct.pack("<HHII", tag, 4, 1, long[tag])
        for tag in sorted(short | long)
    )
    directory = struct.pack("<H", len(short | long)) + entries + bytes(4)
    return b"".join((b"II*\0", struct.pack("<I", 8 + len(data)), data, directory))


BMP_HEADER: Final = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)

REFUSED: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "nothing.png": (lambda: b"", "empty"),
    "one-byte.png": (lambda: b"\x89", "no image"),
    "only-a-signature.png": (lambda: b"\x89PNG\r\n\x1a\n", "no image"),
    "zeros.png": (lambda: bytes(5000), "no image"),
    "text.png": (lambda: b"This is no image.", "no image"),
    "page-of-a-failed-download.jpg": (lambda: b"<!DOCTYPE html><html>404</html>", "no image"),
    "drawing.png": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "no image"),
    "document.png": (lambda: b"%PDF-1.4\n%%EOF", "no image"),
    "program.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no image"),
    "archive.png": (lambda: b"PK\x05\x06" + bytes(18), "no image"),
    "array.png": (lambda: b"\x93NUMPY\x01\x00v\x00" + bytes(118), "no image"),
    "still-of-another-format.png": (lambda: encode(palette(), "GIF"), "no image"),
    "animation.png": (lambda: frames("PNG"), "3 frames"),
    "animation.webp": (lambda: frames("WEBP"), "3 frames"),
    "animation-of-another-format.png": (lambda: frames("GIF"), "no image"),
    "pages.tif": (lambda: frames("TIFF"), "3 frames"),
    **{f"cut-head.{name}": (partial(_cut, *how, length=40), "") for name, how in _CUT.items()},
    **{f"cut-half.{name}": (partial(_cut, *how, length=2500), "") for name, how in _CUT.items()},
    "cut-16-bit-colour.png": (lambda: png_16_bit(DEEP_COLOR)[:200], ""),
    "damaged-16-bit-colour.png": (_spoilt_deep_png, "broken data"),
    "damaged-pixels.png": (_flipped_bit, "broken data"),
    "checksum-of-header.png": (lambda: broken_checksum(b"IHDR"), "damaged"),
    "checksum-of-comment.png": (
        lambda: png((11, 13), unfiltered(GREY), extra=chunk(b"tEXt", b"a\0b", crc=7)),
        "damaged",
    ),
    "unknown-compression.png": (
        lambda: png((4, 4), unfiltered(GREY[:4, :4])).replace(b"\x08\0\0\0\0", b"\x09\0\0\0\0"),
        "",
    ),
    "huge-header.png": (lambda: png((60_000, 60_000), b"\0\0"), "3600000000 pixels; reading.max_pixels"),
    "large-header.png": (lambda: png((10_001, 10_000), b"\0\0"), " pixels; reading.max_pixels"),
    "huge-header-16-bit.png": (lambda: png((60_000, 60_000), b"\0\0", 16, 2), "3600000000 pixels; reading.max_pixels"),
    "huge-header.ppm": (lambda: b"P6 60000 60000 255\n\0\0\0", "3600000000 pixels; reading.max_pixels"),
    "huge-header.bmp": (
        lambda: BMP_HEADER + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "3600000000 pixels; reading.max_pixels",
    ),
    "huge-tiles.tif": (lambda: tiled_tiff(20_000), "20000x20000 pixels in each tile; reading.max_pixels"),
    "text-bomb.png": (_text_bomb, "too large"),
    "no-width.png": (lambda: png((4, 0), b"\0" * 4), ""),
    "no-height.png": (lambda: png((0, 4), b""), ""),
    "no-width.ppm": (lambda: b"P6 0 4 255\n", ""),
    "no-height.bmp": (
        lambda: BMP_HEADER + struct.pack("<IiiHHIIiiII", 40, 4, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        "",
    ),
    "nan.tif": (lambda: _with_value(float("nan")), "not finite"),
    "infinite.tif": (lambda: _with_value(float("inf")), "not finite"),
    "32-bit.tif": (lambda: _tiff_of(np.full((4, 4), 70_000, dtype=np.int32)), "70000"),
    "negative.tif": (lambda: _tiff_of(np.full((4, 4), -7, dtype=np.int32)), "-7"),
}
"""File name -> its bytes, and what the message must say beside the file's name."""
