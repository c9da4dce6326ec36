"""Unusual image files by name: what stands in each, and the pixels that must be read."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.fakes import png_16_bit

Pixels = NDArray[Any]

HEIGHT, WIDTH = 11, 13
GREY: Final = (np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) * 3) % 251
COLOR: Final = np.stack((GREY, GREY[::-1], 255 - GREY), axis=-1)
SMOOTH: Final = np.stack([np.tile(np.linspace(20, 230, 32), (24, 1))] * 3, axis=-1).astype(np.uint8)
"""(24, 32, 3) that JPEG changes by no more than three grey levels."""
DEEP: Final = GREY.astype(np.uint16) * 257 + 3
DEEP_COLOR: Final = np.stack((DEEP, DEEP[::-1], 65535 - DEEP), axis=-1)
BITS: Final = np.where(GREY > 99, 255, 0).astype(np.uint8)
ROTATED: Final = {
    1: COLOR,
    2: COLOR[:, ::-1],
    3: COLOR[::-1, ::-1],
    4: COLOR[::-1],
    5: COLOR.swapaxes(0, 1),
    6: np.rot90(COLOR, 3),
    7: COLOR[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(COLOR),
}
"""What a reader must make of `COLOR` by EXIF orientation."""


def encode(pixels: Pixels | Image.Image, kind: str, mode: str = "", **options: Any) -> bytes:
    """An image file's bytes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """One chunk of a PNG; `crc` replaces the right one."""
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(
    size: tuple[int, int], rows: bytes, depth: int = 8, kind: int = 0, interlaced: bool = False, extra: bytes = b""
) -> bytes:
    """A PNG by hand. Args: (height, width), filtered rows, bits, colour type, Adam7, chunks before the data."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def unfiltered(pixels: Pixels) -> bytes:
    """Rows of a PNG without filters."""
    return b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in pixels)


def interlaced(pixels: Pixels, depth: int, kind: int) -> bytes:
    """An Adam7 PNG, which PIL cannot write."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [pixels[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(unfiltered(part) for part in parts if part.size)
    return png((pixels.shape[0], pixels.shape[1]), rows, depth, kind, interlaced=True)


def broken_checksum(kind: bytes) -> bytes:
    """A PNG of `COLOR` with a wrong checksum behind its first chunk of that kind."""
    data = encode(COLOR, "PNG")
    position = data.index(kind)
    end = position + 4 + struct.unpack(">I", data[position - 4 : position])[0]
    return data[:end] + bytes(value ^ 255 for value in data[end : end + 4]) + data[end + 4 :]


def _big_endian(*channels: Pixels) -> Pixels:
    return np.stack(channels, axis=-1).astype(">u2")


def _big_endian_tiff(pixels: Pixels) -> bytes:
    """A TIFF as Motorola's processors wrote it; PIL writes the other order."""
    data, (height, width) = pixels.astype(">u2").tobytes(), pixels.shape
    short = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1, 278: height}
    long = {273: 8, 279: len(data)}
    entries = b"".join(
        struct.pack(">HHI", tag, 3, 1) + struct.pack(">HH", short[tag], 0)
        if tag in short
        else struct.pack(">HHII", tag, 4, 1, long[tag])
        for tag in sorted(short | long)
    )
    directory = struct.pack(">H", len(short | long)) + entries + bytes(4)
    return b"".join((b"MM\0*", struct.pack(">I", 8 + len(data)), data, directory))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _turned(kind: str, orientation: int) -> tuple[bytes, Pixels]:
    return encode(COLOR, kind, exif=_exif(orientation)), ROTATED[orientation]


def frames(kind: str) -> bytes:
    """Three pictures in one file."""
    first, *others = (Image.fromarray(np.roll(COLOR, step, axis=0)) for step in range(3))
    return encode(first, kind, save_all=True, append_images=others)


def _packed(bits: int) -> bytes:
    """Grey of 2 or 4 bits: the values 0, 1, ... in turn."""
    values = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8) % 2**bits
    shifts = range(8 - bits, -1, -bits)
    packed = sum(values[:, i :: 8 // bits] << shift for i, shift in enumerate(shifts))
    return png((8, 8), unfiltered(np.asarray(packed, dtype=np.uint8)), bits)


def _scaled(bits: int) -> Pixels:
    values: Pixels = (np.arange(8 * 8).reshape(8, 8) % 2**bits * (255 // (2**bits - 1))).astype(np.uint8)
    return values


def palette() -> Image.Image:
    """`COLOR` in 64 colours."""
    return Image.fromarray(COLOR).quantize(64)


def _mpo() -> bytes:
    other = Image.fromarray(SMOOTH[::-1].copy())
    return encode(Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[other], quality=95)


EXACT: Final[dict[str, Callable[[], tuple[bytes, Pixels]]]] = {
    "grey.png": lambda: (encode(GREY, "PNG"), GREY),
    "palette.png": lambda: (encode(palette(), "PNG"), np.asarray(palette().convert("RGB"))),
    "palette-with-transparency.png": lambda: (
        encode(palette(), "PNG", transparency=3),
        np.asarray(palette().convert("RGB")),
    ),
    "palette.bmp": lambda: (encode(palette(), "BMP"), np.asarray(palette().convert("RGB"))),
    "one-bit.png": lambda: (encode(BITS, "PNG", "1"), BITS),
    "one-bit.pbm.ppm": lambda: (encode(BITS, "PPM", "1"), BITS),
    "one-bit-fax.tif": lambda: (encode(BITS, "TIFF", "1", compression="group4"), BITS),
    "two-bit.png": lambda: (_packed(2), _scaled(2)),
    "four-bit.png": lambda: (_packed(4), _scaled(4)),
    "alpha.png": lambda: (encode(np.dstack((COLOR, GREY)), "PNG"), COLOR),
    "wholly-transparent.png": lambda: (encode(np.dstack((COLOR, 0 * GREY)), "PNG"), COLOR),
    "grey-with-alpha.png": lambda: (encode(np.dstack((GREY, 255 - GREY)), "PNG"), GREY),
    "alpha.webp": lambda: (encode(np.dstack((COLOR, GREY)), "WEBP", lossless=True, exact=True), COLOR),
    "lossless.webp": lambda: (encode(COLOR, "WEBP", lossless=True), COLOR),
    "interlaced.png": lambda: (interlaced(COLOR, 8, 2), COLOR),
    "interlaced-grey.png": lambda: (interlaced(GREY, 8, 0), GREY),
    "interlaced-16-bit-colour.png": lambda: (interlaced(DEEP_COLOR.astype(">u2"), 16, 2), DEEP_COLOR),
    "16-bit-grey.png": lambda: (png_16_bit(DEEP), DEEP),
    "16-bit-grey.tif": lambda: (encode(DEEP, "TIFF"), DEEP),
    "16-bit-grey-big-endian.tif": lambda: (_big_endian_tiff(DEEP), DEEP),
    "16-bit-grey-lzw.tif": lambda: (encode(DEEP, "TIFF", compression="tiff_lzw"), DEEP),
    "16-bit-grey.pgm": lambda: (b"P5 13 11 65535\n" + DEEP.astype(">u2").tobytes(), DEEP),
    "16-bit-colour.png": lambda: (png_16_bit(DEEP_COLOR), DEEP_COLOR),
    "16-bit-colour-with-alpha.png": lambda: (
        png((HEIGHT, WIDTH), unfiltered(_big_endian(*DEEP_COLOR.transpose(2, 0, 1), 65535 - DEEP)), 16, 6),
        DEEP_COLOR,
    ),
    "16-bit-grey-with-alpha.png": lambda: (
        png((HEIGHT, WIDTH), unfiltered(_big_endian(DEEP, 65535 - DEEP)), 16, 4),
        DEEP,
    ),
    "float.tif": lambda: (encode(GREY.astype(np.float32) / 255, "TIFF"), GREY.astype(np.float32) / 255),
    "cmyk.tif": lambda: (encode(COLOR, "TIFF", "CMYK"), COLOR),
    "ascii.pgm": lambda: (b"P2\n# a comment\n13 11\n255\n" + " ".join(map(str, GREY.flatten())).encode(), GREY),
    "1x1.png": lambda: (encode(GREY[:1, 1:2], "PNG"), GREY[:1, 1:2]),
    "1x13.png": lambda: (encode(COLOR[:1], "PNG"), COLOR[:1]),
    "11x1.png": lambda: (encode(COLOR[:, :1], "PNG"), COLOR[:, :1]),
    "WRONG-ENDING-a-png.JPG": lambda: (encode(COLOR, "PNG"), COLOR),
    "wrong-ending-a-tiff.png": lambda: (encode(DEEP, "TIFF"), DEEP),
    "wrong-ending-a-bmp.WebP": lambda: (encode(COLOR, "BMP"), COLOR),
    "bytes-after-the-end.png": lambda: (encode(COLOR, "PNG") + b"\0" * 99, COLOR),
    "one-animation-frame.png": lambda: (encode(COLOR, "PNG", save_all=True), COLOR),
    "checksum-of-data.png": lambda: (broken_checksum(b"IDAT"), COLOR),  # the pixels have a checksum of their own
    "spaces and ünïcödé 图像.png": lambda: (encode(COLOR, "PNG"), COLOR),
    "a\nnew line.png": lambda: (encode(COLOR, "PNG"), COLOR),
    f"{'long' * 62}.png": lambda: (encode(COLOR, "PNG"), COLOR),
    **{f"exif-orientation-{turn}.png": partial(_turned, "PNG", turn) for turn in ROTATED},
    **{f"exif-orientation-{turn}.tif": partial(_turned, "TIFF", turn) for turn in (3, 6)},
    "exif-orientation-9.png": lambda: (encode(COLOR, "PNG", exif=_exif(9)), COLOR),
    "exif-of-garbage.png": lambda: (encode(COLOR, "PNG", exif=b"Exif\0\0garbage"), COLOR),
}
"""File name -> its bytes, and exactly the pixels that must be read."""

CLOSE: Final[dict[str, Callable[[], tuple[bytes, Pixels]]]] = {
    "cmyk.jpg": lambda: (encode(SMOOTH, "JPEG", "CMYK", quality=98), SMOOTH),
    "progressive.jpg": lambda: (encode(SMOOTH, "JPEG", progressive=True, quality=95), SMOOTH),
    "grey.JPeG": lambda: (encode(SMOOTH[..., 0], "JPEG", quality=95), SMOOTH[..., 0]),
    "several-pictures-of-a-camera.jpg": lambda: (_mpo(), SMOOTH),
    "wrong-ending-a-jpg.png": lambda: (encode(SMOOTH, "JPEG", quality=95), SMOOTH),
    "bytes-after-the-end.jpg": lambda: (encode(SMOOTH, "JPEG", quality=95) + b"\0" * 99, SMOOTH),
    "exif-of-garbage.jpg": lambda: (encode(SMOOTH, "JPEG", quality=95, exif=b"Exif\0\0garbage"), SMOOTH),
    "exif-orientation-6.jpg": lambda: (
        encode(np.rot90(SMOOTH), "JPEG", quality=95, exif=_exif(6)),
        SMOOTH,
    ),
    "ycbcr.tif": lambda: (encode(SMOOTH, "TIFF", "YCbCr"), SMOOTH),
    "lossy.webp": lambda: (encode(SMOOTH, "WEBP", quality=98), SMOOTH),
}
"""The same where the format is lossy: to three grey levels."""
