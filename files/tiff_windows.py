"""Parts of a TIFF file that is too large for memory: only the stored pieces that a part lies in are decoded.

Only what is stored without loss, of one plain kind, is read so: `TiffWindows` says of all others what they lack.
"""

import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import needed
from ivif.files.pictures import MAX_PIXELS, reason
from ivif.files.tiff_layout import CODECS, PLAIN, STORE, lack_of, only_page

Pixels = NDArray[Any]

_KEPT: Final = 1 << 28
"""Most bytes of decoded pieces that are kept for the next part."""

GEO_TAGS: Final = (33550, 33922, 34264, 34735, 34736, 34737)
"""What GeoTIFF says of a picture's place on earth."""


class Piece(NamedTuple):
    """One strip or tile as it is stored.

    Attributes:
        number: In the file's order.
        row: First row of the picture that it holds.
        column: First column.
        height: Rows that are stored: of a tile all, of the last strip what is left.
    """

    number: int
    row: int
    column: int
    height: int


class TiffWindows:
    """A TIFF file to read in parts; `opened` makes one. For one thread.

    Args:
        path: The file.
        page: Its first page, of tifffile.
        size: Bytes of the file.

    Raises:
        UnreadableFileError: If it cannot be read so.

    Attributes:
        height: Of the picture.
        width: The same.
        channels: 1 or 3; opacity is left out.
        dtype: uint8, uint16 or float32.
        tags: What GeoTIFF says, as tifffile writes it.
    """

    def __init__(self, path: Path, page: Any, size: int) -> None:
        self.path, self._page = path, page
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self._samples = int(page.samplesperpixel)
        self.channels = min(self._samples, 3)
        if lack := lack_of(page):
            raise UnreadableFileError(path, f"parts of it cannot be read: {lack}", STORE)
        self.dtype = np.dtype(str(page.dtype))
        self._separate = int(page.planarconfig) == 2 and self._samples > 1
        self._tile = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else None
        self._piece = self._tile or (min(int(page.rowsperstrip), self.height), self.width)
        self._codec = int(page.compression)
        self._check(size)
        self.tags = [
            (tag.code, int(tag.dtype), tag.count, tag.value, True)
            for tag in (page.tags.get(code) for code in GEO_TAGS)
            if tag is not None
        ]
        self._kept: OrderedDict[Piece, Pixels] = OrderedDict()

    def read(self, rows: slice, columns: slice) -> Pixels:
        """A part of the picture.

        Args:
            rows: Within the picture.
            columns: The same.

        Returns:
            (h, w), or (h, w, 3), of `dtype`.

        Raises:
            UnreadableFileError: If a stored piece is damaged, or a number is not finite.
        """
        self._forget(rows)
        shape = rows.stop - rows.start, columns.stop - columns.start
        part = np.empty((*shape, self._samples), self.dtype)
        for plane in range(self._samples if self._separate else 1):
            own = part[..., plane : plane + 1] if self._separate else part
            for piece in self._pieces(rows, columns, plane):
                self._copy(piece, rows, columns, own)
        if self.dtype.kind == "f" and not np.isfinite(part).all():
            raise UnreadableFileError(self.path, "it holds values that are not finite (NaN or infinity)")
        return part[..., 0] if self.channels == 1 else np.ascontiguousarray(part[..., :3])

    def _pieces(self, rows: slice, columns: slice, plane: int) -> Iterator[Piece]:
        height, width = self._piece
        down, across = -(-self.height // height), -(-self.width // width)
        for row in range(rows.start // height, -(-rows.stop // height)):
            stored = height if self._tile else min(height, self.height - row * height)
            for column in range(columns.start // width, -(-columns.stop // width)):
                yield Piece((plane * down + row) * across + column, row * height, column * width, stored)

    def _copy(self, piece: Piece, rows: slice, columns: slice, part: Pixels) -> None:
        """Puts what a piece holds of a part into its place."""
        first, last = max(rows.start, piece.row), min(rows.stop, piece.row + piece.height)
        left, right = max(columns.start, piece.column), min(columns.stop, piece.column + self._piece[1])
        inside = slice(first - piece.row, last - piece.row), slice(left - piece.column, right - piece.column)
        plain = self._codec == PLAIN and int(self._page.predictor) == 1
        found = self._stored(piece, *inside) if plain else self._decoded(piece)[inside]
        part[first - rows.start : last - rows.start, left - columns.start : right - columns.start] = found

    def _stored(self, piece: Piece, rows: slice, columns: slice) -> Pixels:
        """A part of a piece without compression, line by line: a strip may be as large as the picture."""
        pixel = self._channels_of_a_piece * self.dtype.itemsize
        begin, line = int(self._page.dataoffsets[piece.number]), self._piece[1] * pixel
        length = (columns.stop - columns.start) * pixel
        data = b"".join(
            self._bytes(begin + row * line + columns.start * pixel, length) for row in range(rows.start, rows.stop)
        )
        return self._numbers(data, rows.stop - rows.start, columns.stop - columns.start)

    def _decoded(self, piece: Piece) -> Pixels:
        """A whole piece; those of the rows that are read are kept."""
        if piece in self._kept:
            self._kept.move_to_end(piece)
            return self._kept[piece]
        number, width = piece.number, self._piece[1]
        data = self._bytes(int(self._page.dataoffsets[number]), int(self._page.databytecounts[number]))
        expected = piece.height * width * self._channels_of_a_piece * self.dtype.itemsize
        pixels = self._numbers(self._unpacked(data, expected), piece.height, width)
        if int(self._page.predictor) == 2:
            pixels = np.cumsum(pixels, axis=1, dtype=pixels.dtype)  # wraps as the writer's differences did
        self._kept[piece] = pixels
        while sum(kept.nbytes for kept in self._kept.values()) > _KEPT and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return pixels

    def _forget(self, rows: slice) -> None:
        """Drops what lies in other rows: parts are read from the left to the right, then downwards."""
        for piece in [kept for kept in self._kept if kept.row + kept.height <= rows.start or kept.row >= rows.stop]:
            del self._kept[piece]

    def _unpacked(self, data: bytes, expected: int) -> bytes:
        try:
            if self._codec == PLAIN:
                unpacked = data[:expected]
            elif CODECS[self._codec] == "zlib_decode":
                unpacked = zlib.decompressobj().decompress(data, expected)
            else:
                import imagecodecs

                unpacked = bytes(getattr(imagecodecs, CODECS[self._codec])(data, out=expected))
        except Exception as error:  # each codec has errors of its own
            raise UnreadableFileError(self.path, f"it is damaged ({reason(error)})") from error
        if len(unpacked) != expected:
            raise UnreadableFileError(self.path, f"it is damaged: a part has {len(unpacked)} bytes of {expected}")
        return unpacked

    def _numbers(self, data: bytes, height: int, width: int) -> Pixels:
        stored = np.frombuffer(data, self.dtype.newbyteorder(self._page.parent.byteorder))
        return stored.reshape(height, width, self._channels_of_a_piece).astype(self.dtype, copy=False)

    @property
    def _channels_of_a_piece(self) -> int:
        return 1 if self._separate else self._samples

    def _bytes(self, begin: int, length: int) -> bytes:
        data = os.pread(self._page.parent.filehandle.fileno(), length, begin)
        if len(data) != length:
            raise UnreadableFileError(self.path, "it is cut off: a part of its pixels is missing")
        return data

    def _check(self, size: int) -> None:
        """Refuses a file of which a piece is missing, or too large to decode."""
        height, width = self._piece
        planes = self._samples if self._separate else 1
        count = -(-self.height // height) * -(-self.width // width) * planes
        places = list(zip(self._page.dataoffsets, self._page.databytecounts, strict=False))
        if len(places) != count or any(not begin or not own or begin + own > size for begin, own in places):
            raise UnreadableFileError(self.path, "it is cut off: a part of its pixels is missing")
        if self._codec == PLAIN:
            whole = height * width * self._channels_of_a_piece * self.dtype.itemsize
            strips = [own < whole for _, own in places]
            last = self.height % height * width * self._channels_of_a_piece * self.dtype.itemsize
            if any(
                short and (self._tile or own < last or (number + 1) % (count // planes))
                for number, (short, (_, own)) in enumerate(zip(strips, places, strict=True))
            ):
                raise UnreadableFileError(self.path, "it is cut off: a part of its pixels is missing")
        elif height * width > MAX_PIXELS:
            raise UnreadableFileError(self.path, f"parts of it cannot be read: each has {width}x{height} pixels", STORE)


@contextmanager
def opened(path: Path) -> Iterator[TiffWindows]:
    """Opens a TIFF file to read it in parts.

    Args:
        path: The file.

    Raises:
        UnreadableFileError: If it is no TIFF, is damaged, or cannot be read in parts; says what is in the way.
        MissingLibraryError: If tifffile is not installed.
    """
    needed("tifffile", "TIFF in tiles")
    needed("imagecodecs", "compressed TIFF")
    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds is said once, by us
    try:
        tiff = TiffFile(path)
    except Exception as error:  # damaged files: a dozen kinds
        why = reason(error).replace(str(path), "").strip()
        raise UnreadableFileError(path, f"it is damaged ({why})") from error
    with tiff:
        try:
            picture = TiffWindows(path, only_page(path, tiff), path.stat().st_size)
        except UnreadableFileError:
            raise
        except Exception as error:  # numbers that no picture has
            raise UnreadableFileError(path, f"it is damaged ({reason(error)})") from error
        yield picture
