"""Two TIFF files that are fused in tiles from file to file, so that memory does not grow with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ivif.datamodules.datasets.io import image_size
from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import MissingLibraryError
from ivif.files.pictures import MAX_PIXELS
from ivif.files.tiff_layout import is_tiff

if TYPE_CHECKING:
    from ivif.datamodules.datasets.thermal import ThermalRange
    from ivif.inference.fuser import Fuser
    from ivif.inference.large import Look
    from ivif.inference.large_pair import LargePair

SUFFIXES: Final = (".tif", ".tiff")

_WAY: Final = "Give two TIFF files of one size, --tile 1024 and --out NAME.tif: then none is in memory as a whole."


def sizes_of(pictures: tuple[Path, Path]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of both, from their headers.

    Raises:
        UnreadableFileError: If one cannot be read, or has too many pixels to be fused in memory.
    """
    return _size(pictures[0]), _size(pictures[1])


def open_large(
    pictures: tuple[Path, Path], out: Path, thermal_range: "ThermalRange", options: Any
) -> "LargePair | None":
    """The pair to fuse from file to file; None where it is to be fused in memory.

    That is so without --tile, with another file than TIFF, and where a file cannot be read in parts but fits.

    Args:
        pictures: Infrared and visible.
        out: The fused picture's file.
        thermal_range: How infrared of more than 8 bits is scaled.
        options: Of the command.

    Raises:
        UnreadableFileError: If the pictures are too large for memory, and what keeps them from being read in parts.
    """
    suits = options.tile is not None and not options.register and not options.side_by_side
    if not (suits and out.suffix.lower() in SUFFIXES and all(map(is_tiff, pictures))):
        return None
    from ivif.inference.large_pair import LargePair

    try:
        return LargePair(*pictures, thermal_range)
    except (UnreadableFileError, MissingLibraryError) as error:
        try:
            sizes_of(pictures)
        except UnreadableFileError:
            raise error from None
        return None


def fuse_parts(fuser: "Fuser", pair: "LargePair", out: Path, prompt: str | None) -> bool:
    """Fuses a pair from file to file, if it is to be fused in tiles; says whether it was.

    Raises:
        UserError: If the network cannot.
        UnreadableFileError: If a file is damaged.
    """
    height, width = pair.size
    side = fuser.task.tile_side(1, height, width)
    if side is None and height * width > MAX_PIXELS:
        from ivif.lightning_modules.tiles import SIDES

        side = SIDES[0]
    if side is None or side >= max(height, width):
        return False
    if fuser.task.needs_whole and height * width <= MAX_PIXELS:
        return False
    from ivif.inference.large import fuse_large

    with _progress(fuser, pair.size, side) as look:
        fuse_large(fuser, pair, out, side, prompt, look)
    return True


@contextmanager
def _progress(fuser: "Fuser", size: tuple[int, int], side: int) -> "Iterator[Look]":
    """A bar on the terminal, which begins anew with each pass over the pictures."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ivif.models.layers.tiling import tiles

    tiling = fuser.task.tiling
    total = len(tiles(*size, side, tiling)) if tiling is not None else 0
    console, seen = Console(stderr=True), 0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("pass 1", total=total)

        def look() -> None:
            nonlocal seen
            if seen and seen % total == 0:
                progress.reset(bar, description=f"pass {seen // total + 1}")
            seen += 1
            progress.advance(bar)

        yield look


def _size(path: Path) -> tuple[int, int]:
    try:
        return image_size(path)
    except UnreadableFileError as error:
        if f"{MAX_PIXELS} pixels" not in error.reason:
            raise
        raise UnreadableFileError(path, f"it has more than {MAX_PIXELS} pixels", _WAY) from error
