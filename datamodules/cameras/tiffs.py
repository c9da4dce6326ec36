"""TIFF files of more than 8 bits, of one page or many."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import needed
from ivif.files.pictures import MAX_PIXELS, file_status

TIFF_BEGINS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MOST_PAGES: Final = 1_000_000


def describe_tiff(path: Path) -> tuple[int, int, bool]:
    """Bits of a value, values of a pixel, and whether there are several pages beside previews.

    Raises:
        UnreadableFileError: If it is no TIFF, or damaged.
        MissingLibraryError: If tifffile is not installed.
    """
    with _opened(path) as tiff:
        first = tiff.pages[0]
        several = any(not page.is_reduced for page in tiff.pages[1:3])
        return int(first.bitspersample), int(first.samplesperpixel), several


def tiff_pages(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Pixels]:
    """Each page, without the previews: (H, W) or (H, W, 3), of whatever type of numbers it is stored in.

    Raises:
        UnreadableFileError: If it is damaged, a page is too large, or is no picture.
        MissingLibraryError: If tifffile or imagecodecs is not installed.
    """
    size = file_status(path, max_pixels).st_size
    with _opened(path) as tiff:
        for number, page in enumerate(tiff.pages):
            if number >= _MOST_PAGES:
                raise UnreadableFileError(path, f"it has more than {_MOST_PAGES} pages")
            if not page.is_reduced:
                _check(path, page, size, max_pixels)
                yield _as_picture(path, page.asarray())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A TIFF file, whose every fault is an error that names it."""
    needed("tifffile", "TIFF of more than 8 bits")
    needed("imagecodecs", "compressed TIFF")
    from tifffile import TiffFile

    file_status(path)
    try:
        with TiffFile(path) as tiff:
            yield tiff
    except UnreadableFileError:
        raise
    except Exception as error:  # damaged files: a dozen kinds
        why = str(error).replace(str(path), "").strip().rstrip(".")
        raise UnreadableFileError(path, f"it is damaged ({why or type(error).__name__})") from error


def _check(path: Path, page: Any, size: int, max_pixels: int) -> None:
    """Refuses what would take too much memory, and pages of which a part is missing, which tifffile takes for zeros."""
    across, down = int(page.imagewidth), int(page.imagelength)
    tile = int(page.tilewidth or 0) * int(page.tilelength or 0)
    if across * down > max_pixels or tile > max_pixels:
        raise UnreadableFileError(path, f"it has {across}x{down} pixels; {max_pixels} are allowed")
    if page.imagedepth > 1 or page.samplesperpixel > 4:
        raise UnreadableFileError(path, "it is a volume or has more than four channels; store pictures")
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if not offset or not length or offset + length > size:
            raise UnreadableFileError(path, "it is cut off: a part of its pixels is missing")


def _as_picture(path: Path, values: Any) -> Pixels:
    if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[2] in (3, 4):
        values = values[..., :3]
    if values.ndim not in (2, 3) or values.dtype.kind not in "uif":
        raise UnreadableFileError(path, f"it holds {values.dtype} of the shape {values.shape}, which is no picture")
    return np.asarray(values)
