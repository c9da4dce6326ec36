"""Infrared that is stored in false colours: turned back into intensities, or refused."""

from pathlib import Path
from typing import Literal

from ivif.datamodules.datasets.io import has_colours, read_image
from ivif.datamodules.datasets.palettes import find_palette, intensities
from ivif.datamodules.datasets.temperatures import as_celsius
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import MAX_PIXELS

InfraredColor = Literal["invert", "luma", "refuse"]

_REMEDY = (
    "Take the grey pictures of the camera, or set `reading.infrared_color` to 'luma', which does not grow with "
    "temperature."
)


def infrared_plane(
    path: Path, pixels: Pixels, rule: InfraredColor = "invert", max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, str]:
    """What an infrared file measures, if it may be a picture in false colours.

    Args:
        path: The file.
        pixels: What `read_image` gave of it, in colour or by its luma.
        rule: `luma` takes pixels as they are.
        max_pixels: Most pixels that the file may have.

    Returns:
        The same pixels, of temperatures degrees Celsius in float32 (`ivif.datamodules.datasets.temperatures`), or
        (H, W) uint8 intensities, 0 cold to 255 hot, with the name of the palette that the file is stored in.

    Raises:
        UnreadableFileError: If it is in colours, and `rule` is `refuse` or no known palette has them.
    """
    if rule == "luma" or not has_colours(path, max_pixels):
        return as_celsius(path, pixels), ""
    coloured = pixels if pixels.ndim == 3 else read_image(path, max_pixels=max_pixels)
    palette = palette_of(path, coloured, rule)
    return intensities(coloured, palette), palette


def palette_of(path: Path, coloured: Pixels, rule: InfraredColor) -> str:
    """The known palette that infrared in colours is stored in.

    Args:
        path: The file, for errors.
        coloured: (H, W, 3) uint8.
        rule: As of `infrared_plane`.

    Raises:
        UnreadableFileError: If `rule` is `refuse`, or no known palette has the colours.
    """
    palette = find_palette(coloured)
    if rule == "refuse":
        raise UnreadableFileError(path, f"it is infrared in colours ({palette or 'of no known palette'})", _REMEDY)
    if palette is None:
        reason = "it is infrared in colours of no known palette; is it the visible picture? Then exchange the two"
        raise UnreadableFileError(path, reason, _REMEDY)
    return palette
