"""The thermal range that `auto` stands for in a dataset: measured once, the same for all that read it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import image_header, read_image
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.thermal import Pixels, ThermalRange
from ivif.files.errors import UnreadableFileError

MOST: Final = 64
"""Pictures that are looked at, evenly spread: half a second at 640x512."""


class MeasuredRange:
    """How a dataset scales infrared of more than 8 bits; parts of it share one.

    Args:
        reading: How its files are read.
        pictures: Its infrared files.
    """

    def __init__(self, reading: ReadingConfig, pictures: Sequence[Path]) -> None:
        count = min(MOST, len(pictures))
        self._looked_at = [pictures[place * len(pictures) // count] for place in range(count)]
        self._reading = reading
        self._known = None if reading.thermal_range.mode == "auto" else reading.thermal_range

    def get(self) -> ThermalRange:
        """The range; of `auto` what the pictures say when it is first asked for, and `type` where they have 8 bits."""
        if self._known is None:
            self._known = self._reading.thermal_range.measured(self._deep())
        return self._known

    def _deep(self) -> Iterator[Pixels]:
        most, rule = self._reading.max_pixels, self._reading.infrared_color
        for path in self._looked_at:
            with suppress(UnreadableFileError):  # loading will say so, where it is needed
                if image_header(path, most).deep:
                    pixels = infrared_plane(path, read_image(path, max_pixels=most), rule, most)[0]
                    yield pixels if pixels.ndim == 2 else pixels[..., 0]
