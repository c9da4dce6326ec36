"""A picture written to TIFF from above downwards, of which never more than a few rows are in memory."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ivif.files.libraries import needed

TILE: Final = 256
"""Side of the stored tiles in pixels."""

_CLASSIC: Final = (1 << 32) - (1 << 25)
"""Bytes of pixels from which on BigTIFF is written: offsets of the classic one have 32 bits."""


def write_rows(
    stream: BinaryIO,
    rows: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    tags: Sequence[Any] = (),
    classic: int = _CLASSIC,
) -> None:
    """Writes an RGB picture in tiles, compressed without loss (deflate).

    Args:
        stream: The open file, empty.
        rows: (h, width, 3) each, of any heights, from above downwards.
        size: (height, width) of the picture.
        tags: Further tags, as tifffile takes them.
        classic: Most bytes of pixels of a file that is no BigTIFF.

    Raises:
        ValueError: If the rows are fewer than the height.
        MissingLibraryError: If tifffile is not installed.
    """
    needed("tifffile", "TIFF in tiles")
    needed("imagecodecs", "compressed TIFF")
    from tifffile import FileHandle, TiffWriter

    height, width = size
    named = FileHandle(stream, name="picture.tif")  # a file opened by its number has no name
    with TiffWriter(named, bigtiff=height * width * 3 > classic) as writer:
        writer.write(
            _tiles(rows, height, width),
            shape=(height, width, 3),
            dtype=np.uint8,
            photometric="rgb",
            planarconfig="contig",
            tile=(TILE, TILE),
            compression="zlib",
            predictor=True,
            maxworkers=1,  # more would fill memory with tiles in waiting
            metadata=None,
            software=False,
            extratags=tags,
        )


def _tiles(rows: Iterable[NDArray[np.uint8]], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Whole tiles, row by row; those at the right and lower edge are filled up with zeros."""
    band, filled, written = np.zeros((TILE, width, 3), np.uint8), 0, 0
    for part in rows:
        while len(part):
            taken = min(TILE - filled, len(part), height - written - filled)
            band[filled : filled + taken], part, filled = part[:taken], part[taken:], filled + taken
            if filled == TILE or written + filled == height:
                band[filled:] = 0
                yield from _cut(band)
                written, filled = written + filled, 0
            if written == height:
                return
    raise ValueError(f"{written + filled} rows of {height} were given.")


def _cut(band: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for left in range(0, band.shape[1], TILE):
        part = band[:, left : left + TILE]
        tile = np.zeros((TILE, TILE, 3), np.uint8)
        tile[:, : part.shape[1]] = part
        yield tile
