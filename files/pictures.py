"""The one door to picture files: known formats, no more pixels than allowed, every fault as one error with its file.

Nothing else opens pictures (`tests/test_architecture.py`): PIL's other formats run programs, and a file of a megabyte
may unfold to many gigabytes.
"""

import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import stat_result
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from ivif.files.errors import UnreadableFileError
from ivif.files.packed import PackedFile

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
"""What PIL may take a file for, whatever its ending: some of its other formats run programs (EPS), none is needed."""

MAX_PIXELS: Final = 100_000_000
"""Most pixels of a picture, unless an option says otherwise."""

TOO_LARGE: Final = (
    "Store it smaller, raise reading.max_pixels (report score: --max_pixels), or remove its pair from the dataset."
)

_BYTES_PER_PIXEL: Final = 16
"""No format takes more for a pixel: four channels of 32 bits."""

_NOTES: Final = 1 << 24
"""Bytes that a file may have beside its pixels: colour profiles, previews."""

_TILE_TAGS: Final = (322, 323)

warnings.simplefilter("error", Image.DecompressionBombWarning)  # as PIL advises: it warns up to twice its limit


@contextmanager
def open_picture(
    path: Path, content: bytes | None = None, max_pixels: int = MAX_PIXELS, remedy: str = ""
) -> Iterator[Image.Image]:
    """A picture file, opened but not yet decoded; whatever its decoding raises within the block names the file.

    Args:
        path: The file.
        content: Its bytes, where they were read already.
        max_pixels: Most pixels that it may have, by its header.
        remedy: What to do about a file that cannot be read; default: replace it.

    Raises:
        UnreadableFileError: If the file is missing, no image, damaged or too large.
    """
    if Image.MAX_IMAGE_PIXELS is not None:  # PIL's own limit must not be the lower one
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    if content is None:
        file_status(path, max_pixels, remedy)
        content = path.read_bytes() if isinstance(path, PackedFile) else None
    try:
        with Image.open(path if content is None else io.BytesIO(content), formats=FORMATS) as image:
            _check_size(path, image, max_pixels, remedy)
            yield image
    except UnreadableFileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_large(path, f"{found[1] if found else 'more'} pixels", max_pixels, remedy) from error
    except Exception as error:  # damaged files: PIL's readers raise a dozen kinds, struct.error and TypeError included
        raise _unreadable(path, reason(error), remedy) from error


def load_rgb(path: Path, remedy: str = "") -> Image.Image:
    """A picture in RGB, decoded.

    Raises:
        UnreadableFileError: As `open_picture`.
    """
    with open_picture(path, remedy=remedy) as image:
        return image.convert("RGB")


def noted_header(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int, bool] | None:
    """Height, width and whether it has more than 8 bits, as a pack notes it of a picture, so that no shard is fetched.

    Raises:
        UnreadableFileError: If it has too many pixels.
    """
    noted = path.place.picture if isinstance(path, PackedFile) and path.is_file() else None
    if noted and noted[0] * noted[1] > max_pixels:
        raise _too_large(path, f"{noted[1]}x{noted[0]} pixels", max_pixels, "")
    return noted


def file_status(path: Path, max_pixels: int = MAX_PIXELS, remedy: str = "") -> stat_result:
    """The state of a picture's file, which may lie in a pack.

    Raises:
        UnreadableFileError: If it is missing, no regular file, or larger than any picture of so many pixels.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, reason(error), remedy) from error
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever, a device might never end
        what = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
        raise _unreadable(path, what, remedy)
    if status.st_size > _BYTES_PER_PIXEL * max_pixels + _NOTES:
        raise _too_large(path, f"{status.st_size} bytes", max_pixels, remedy)
    return status


def reason(error: BaseException) -> str:
    """What is wrong with a file, from what its reading raised."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, UnidentifiedImageError):
        return f"its content is no image of a known format ({', '.join(FORMATS)}), or damaged at its start"
    return str(getattr(error, "strerror", None) or error).rstrip(".") or type(error).__name__


def _check_size(path: Path, image: Image.Image, max_pixels: int, remedy: str) -> None:
    """Refuses what would take too much memory to decode; of a TIFF also the tiles, which may be larger than itself."""
    tags = getattr(image, "tag_v2", {})
    tile = [int(tags.get(tag) or 0) for tag in _TILE_TAGS]
    for (width, height), what in ((image.size, "pixels"), (tile, "pixels in each tile")):
        if width * height > max_pixels:
            raise _too_large(path, f"{width}x{height} {what}", max_pixels, remedy)


def _too_large(path: Path, size: str, max_pixels: int, remedy: str) -> UnreadableFileError:
    return UnreadableFileError(
        path, f"it has {size}; reading.max_pixels allows pictures of {max_pixels} pixels", remedy or TOO_LARGE
    )


def _unreadable(path: Path, why: str, remedy: str) -> UnreadableFileError:
    return UnreadableFileError(path, why, remedy) if remedy else UnreadableFileError(path, why)
