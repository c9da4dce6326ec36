"""Both TIFF files of a pair that is too large for memory, read in parts as `Fuser` would read the whole."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import torch
from torch import Tensor

from ivif.contracts.batch import Batch, batch_to_float
from ivif.datamodules.datasets.io import to_infrared, to_visible
from ivif.datamodules.datasets.temperatures import as_celsius
from ivif.datamodules.datasets.thermal import DEFAULT_THERMAL_RANGE, Pixels, ThermalRange
from ivif.datamodules.datasets.thermal_parts import Scaling, scaling_of
from ivif.files.errors import UnreadableFileError
from ivif.files.tiff_windows import TiffWindows, opened
from ivif.image_ops.resize import resize

Region = tuple[slice, slice]

_STRIP: Final = 1 << 20
"""Pixels that are looked at together where a picture is gone through once."""

_HIGH_BYTE: Final = 8


class LargePair:
    """The pair; a context that closes its files. For one thread.

    Args:
        infrared: A TIFF file of one channel.
        visible: One of the same size.
        thermal_range: How infrared of more than 8 bits is scaled.

    Raises:
        UnreadableFileError: If a file cannot be read in parts, or the two do not fit; says what is in the way.

    Attributes:
        size: (height, width).
    """

    def __init__(self, infrared: Path, visible: Path, thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE) -> None:
        with ExitStack() as stack:
            self._infrared, self._visible = (stack.enter_context(opened(path)) for path in (infrared, visible))
            self.size = self._visible.height, self._visible.width
            _check(self._infrared, self.size)
            self._files = stack.pop_all()
        self._range = thermal_range

    def __enter__(self) -> Self:
        """The pair."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes both files."""
        self._files.close()

    @property
    def tags(self) -> list[Any]:
        """What the visible file says of its place on earth, as tifffile writes it."""
        return self._visible.tags

    def part(self, region: Region, device: torch.device) -> Batch:
        """The same rows and columns of both: (1, 1, h, w) and (1, 3, h, w), float32 in [0, 1], on a device.

        Raises:
            UnreadableFileError: If a file is damaged.
            ValueError: If the thermal range does not fit the values.
        """
        planes = self._infrared_plane(region)[None], self._visible_plane(region)[None].contiguous()
        batch = {name: plane.to(device) for name, plane in zip(("infrared", "visible"), planes, strict=True)}
        return batch_to_float(cast(Batch, batch))

    def shrunk(self, side: int, device: torch.device) -> Batch:
        """Both whole pictures as squares of a side: what `resize` makes of them, bit for bit on the CPU.

        Rows are shrunk on the way through the files, columns at the end: of both pictures `side` columns are kept.
        """
        strips: dict[str, list[Tensor]] = {"infrared": [], "visible": []}
        for region in self._strips():
            strip = self.part(region, device)
            for name, lines in strips.items():
                plane = cast(Tensor, cast("dict[str, Any]", strip)[name])
                lines.append(resize(plane, (plane.shape[-2], side), "bicubic"))
        both = {name: resize(torch.cat(lines, dim=-2), (side, side), "bicubic") for name, lines in strips.items()}
        return cast(Batch, both)

    def _strips(self) -> Iterator[Region]:
        height, width = self.size
        rows = max(1, _STRIP // width)
        return ((slice(top, min(height, top + rows)), slice(0, width)) for top in range(0, height, rows))

    def _infrared_plane(self, region: Region) -> Tensor:
        pixels = self._infrared.read(*region)
        return to_infrared(pixels if pixels.dtype == np.uint8 else self._scaling(pixels))

    def _visible_plane(self, region: Region) -> Tensor:
        pixels = self._visible.read(*region)
        if pixels.ndim == 3 and pixels.dtype == np.uint16:
            pixels = (pixels >> _HIGH_BYTE).astype(np.uint8)  # as `read_image` has it
        return to_visible(pixels)

    @cached_property
    def _scaling(self) -> Scaling:
        raw = (self._infrared.read(*region) for region in self._strips())
        return scaling_of(raw, self._range, self._in_its_unit)

    def _in_its_unit(self, pixels: Pixels) -> Pixels:
        if pixels.ndim == 1:  # values without a place
            values: Pixels = as_celsius(self._infrared.path, pixels[None])[0]
            return values
        return as_celsius(self._infrared.path, pixels)


def _check(infrared: TiffWindows, size: tuple[int, int]) -> None:
    if (infrared.height, infrared.width) != size:
        raise UnreadableFileError(
            infrared.path,
            f"it has {infrared.width}x{infrared.height} pixels, the visible one {size[1]}x{size[0]}: in tiles from "
            f"file to file both must have one size",
            "Resample it to the visible one.",
        )
    if infrared.channels != 1:
        raise UnreadableFileError(
            infrared.path, "it has three channels: in tiles from file to file it must have one", "Store one channel."
        )
