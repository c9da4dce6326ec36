"""Planes that commands store as pictures: the numbers stay."""

from pathlib import Path

from PIL import Image

from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.whole import whole_file


def save_plane(pixels: Pixels, path: Path) -> None:
    """Writes (H, W) or (H, W, 3), whole or not at all: TIFF for floats, where the name ends so, else PNG.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_file(path, durable=False) as stream:
        image = Image.fromarray(pixels)
        if path.suffix in (".tif", ".tiff"):
            image.save(stream, "TIFF")
        else:
            image.save(stream, "PNG", compress_level=3)
