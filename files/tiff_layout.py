"""Which TIFF files can be read in parts: what is stored without loss, of one plain kind, on one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import reason

_BEGINS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PLAIN: Final = 1
CODECS: Final[Mapping[int, str]] = {
    5: "lzw_decode",
    8: "zlib_decode",
    32946: "zlib_decode",
    32773: "packbits_decode",
    34925: "lzma_decode",
    50000: "zstd_decode",
}
"""By the TIFF's number of a compression without loss its decoder in imagecodecs."""

_TYPES: Final = ("uint8", "uint16", "float32")
_GREY, _RGB = 1, 2
_NO_ALPHA: Final = ((), (0,), (2,))
"""Kinds of a fourth channel that is dropped: none, of no meaning, or opacity that colours were not multiplied by."""

_MOST_PAGES: Final = 64
STORE: Final = (
    "Store it as one page of one or three channels, without compression or with deflate, LZW or zstd, in tiles."
)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF and BigTIFF do; a link or folder is looked at as what it is."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) in _BEGINS


def only_page(path: Path, tiff: Any) -> Any:
    """The picture, if there is one; smaller copies of it are passed over."""
    try:
        pages = [page for number, page in enumerate(tiff.pages) if number <= _MOST_PAGES]
        full = [page for page in pages if not page.is_reduced and not page.is_mask]
    except Exception as error:  # damaged files: a dozen kinds
        raise UnreadableFileError(path, f"it is damaged ({reason(error)})") from error
    if len(pages) > _MOST_PAGES or len(full) != 1:
        raise UnreadableFileError(path, f"parts of it cannot be read: it holds {len(full)} pages", STORE)
    return full[0]


def lack_of(page: Any) -> str:
    """Why parts of a page cannot be read; empty if they can."""
    samples, bits = int(page.samplesperpixel), page.bitspersample
    extra = tuple(int(kind) for kind in page.extrasamples or ())
    orientation = page.tags.get(274)
    reasons = {
        f"it has {samples} channels": samples not in (1, 3, 4) or int(page.imagedepth) != 1,
        f"its fourth channel is of kind {extra}": len(extra) != max(0, samples - 3) or extra not in _NO_ALPHA,
        f"its numbers are {page.dtype} of {bits} bits": str(page.dtype) not in _TYPES
        or bits != np.dtype(str(page.dtype)).itemsize * 8,
        f"its compression is {getattr(page.compression, 'name', page.compression)}": int(page.compression)
        not in (PLAIN, *CODECS),
        f"its colours are stored as {getattr(page.photometric, 'name', page.photometric)}": int(page.photometric)
        != (_GREY if samples == 1 else _RGB),
        f"its predictor is {int(page.predictor)}": int(page.predictor) not in ((1, 2) if page.dtype != "f4" else (1,)),
        "it lies on its side": orientation is not None and orientation.value != 1,
        "its bits are stored backwards": int(page.fillorder) != 1,
    }
    return next((why for why, holds in reasons.items() if holds), "")
