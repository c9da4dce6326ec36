"""A network over tiles of a picture, with the result that the whole picture would give.

What a convolution needs of its neighbours a halo of real pixels brings. Attention between channels sums over all
pixels: its sums are gathered over the tiles, one layer after the other, each in a pass that ends at that layer.
Features are held of one tile at a time; the passes take the time.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """One tile: what is read of the picture, and which part of that is its own.

    Attributes:
        read: Rows and columns with the halo, within the picture.
        write: Rows and columns that are the tile's own; the tiles' own parts cover the picture once.
    """

    read: tuple[slice, slice]
    write: tuple[slice, slice]

    @property
    def inside(self) -> tuple[slice, slice]:
        """Its own part, counted from the first row and column that is read."""
        rows, columns = (
            slice(own.start - whole.start, own.stop - whole.start)
            for own, whole in zip(self.write, self.read, strict=True)
        )
        return rows, columns


class Gathered(Exception):  # noqa: N818 - no error: a pass has what it was made for
    """A tile's share of the sums is taken, and what comes after that layer is not needed."""


class PictureSums:
    """The sums over a picture's pixels of each layer that asks for any.

    Attributes:
        inside: The part of the current tile whose pixels count.
    """

    def __init__(self) -> None:
        self.inside: tuple[slice, slice] = (slice(None), slice(None))
        self._known: dict[object, tuple[Tensor, ...]] = {}
        self._gathering: object | None = None
        self._sums: tuple[Tensor, ...] = ()

    def of(self, layer: object, share: Callable[[tuple[slice, slice]], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The sums of a layer, if all tiles have given theirs.

        Args:
            layer: Who asks.
            share: Gives the sums over a part of the current tile.

        Raises:
            Gathered: If not; this tile's share is added.
        """
        if layer in self._known:
            return self._known[layer]
        parts = share(self.inside)
        self._sums = tuple(a + b for a, b in zip(self._sums, parts, strict=True)) if self._sums else parts
        self._gathering = layer
        raise Gathered

    def end_pass(self) -> None:
        """Counts the sums of the layer at which the last pass ended as known."""
        self._known[self._gathering] = self._sums
        self._sums = ()


PICTURE_SUMS: ContextVar[PictureSums | None] = ContextVar("PICTURE_SUMS", default=None)
"""Of the picture that this thread computes in tiles; None where pictures are whole."""


def tiles(height: int, width: int, tile: int, halo: int) -> list[Tile]:
    """Cuts a picture.

    Args:
        height: Of the picture.
        width: The same.
        tile: Longest side of a tile's own part, >= 1.
        halo: How many pixels around it are read, where there are any.
    """
    return [
        Tile((rows[0], columns[0]), (rows[1], columns[1]))
        for rows in _spans(height, tile, halo)
        for columns in _spans(width, tile, halo)
    ]


def in_tiles(network: Callable[[Tile], Tensor], height: int, width: int, tile: int, halo: int) -> Tensor:
    """Runs a network over the tiles of a picture.

    Args:
        network: Gives (B, C, h, w) of what a tile reads.
        height: Of the picture.
        width: The same.
        tile: Longest side of a tile's own part.
        halo: How far the network's convolutions see, in pixels.

    Returns:
        (B, C, height, width).
    """
    parts, sums = tiles(height, width, tile, halo), PictureSums()
    token = PICTURE_SUMS.set(sums)
    try:
        while (whole := _one_pass(network, parts, sums, height, width)) is None:
            sums.end_pass()
    finally:
        PICTURE_SUMS.reset(token)
    return whole


def _one_pass(
    network: Callable[[Tile], Tensor], parts: list[Tile], sums: PictureSums, height: int, width: int
) -> Tensor | None:
    whole: Tensor | None = None
    for part in parts:
        sums.inside = part.inside
        try:
            result = network(part)
        except Gathered:
            continue
        if whole is None:
            whole = torch.empty((*result.shape[:2], height, width), dtype=result.dtype, device=result.device)
        whole[..., part.write[0], part.write[1]] = result[..., part.inside[0], part.inside[1]]
    return whole


def _spans(length: int, tile: int, halo: int) -> list[tuple[slice, slice]]:
    return [
        (slice(max(0, start - halo), min(length, start + tile + halo)), slice(start, min(length, start + tile)))
        for start in range(0, length, tile)
    ]
