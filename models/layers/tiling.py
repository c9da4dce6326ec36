"""A network over tiles of a picture, with the result that the whole picture would give.

What a convolution needs of its neighbours a halo of real pixels brings. What a layer takes of all pixels, sums or a
small map, is gathered over the tiles, one layer after the other, each in a pass that ends at that layer. Features are
held of one tile at a time; the passes take the time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from torch import Tensor

from ivif.models.layers.gathered_map import GatheredMap


class Tiling(NamedTuple):
    """What a network needs of the tiles that it is run on.

    Attributes:
        halo: How far from a pixel it sees, in pixels; without what it gathers of the whole picture.
        step: Tiles must begin at multiples of it: of its strides and windows.
        keeps: What of the whole picture stays in memory while its tiles are fused; empty if nothing grows with it.
    """

    halo: int
    step: int = 1
    keeps: str = ""

    @property
    def margin(self) -> int:
        """The halo that is read, a multiple of the step."""
        return -(-self.halo // self.step) * self.step

    def side(self, tile: int) -> int:
        """The side of tiles that are not larger than asked for, if a step is not."""
        return max(self.step, tile // self.step * self.step)


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
    """A tile's share is taken, and what comes after that layer is not needed."""


class TiledPicture:
    """What layers know of the picture whose tiles they see.

    Args:
        parts: The tiles, which cover it.

    Attributes:
        tile: The one that is computed.
        size: (height, width).
        longest: Height and width of the largest that is read of a tile.
    """

    tile: Tile

    def __init__(self, parts: Sequence[Tile]) -> None:
        rows, columns = parts[-1].write
        self.size = rows.stop, columns.stop
        reads = [[own.stop - own.start for own in part.read] for part in parts]
        self.longest = max(read[0] for read in reads), max(read[1] for read in reads)
        self._known: dict[object, Any] = {}
        self._finish: Callable[[], None] | None = None
        self._sums: tuple[Tensor, ...] = ()
        self._map: Tensor | None = None
        self._plane: GatheredMap | None = None

    def sums(self, layer: object, share: Callable[[tuple[slice, slice]], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """A layer's sums over all pixels, if all tiles have given theirs.

        Args:
            layer: Who asks.
            share: Gives the sums over a part of the current tile.

        Raises:
            Gathered: If not; this tile's share is added.
        """
        if layer in self._known:
            known: tuple[Tensor, ...] = self._known[layer]
            return known
        parts = share(self.tile.inside)
        self._sums = tuple(a + b for a, b in zip(self._sums, parts, strict=True)) if self._sums else parts

        def finish() -> None:
            self._known[layer], self._sums = self._sums, ()

        self._finish = finish
        raise Gathered

    def whole(self, layer: object, part: Tensor, stride: int, make: Callable[[Tensor], Any]) -> Any:
        """What a layer makes of a map of the whole picture, once, if all tiles have given their parts.

        Args:
            layer: Who asks.
            part: The map of the current tile, (B, C, h, w).
            stride: Pixels for each cell of the map, a divisor of the network's step.
            make: What becomes of the whole map.

        Raises:
            Gathered: If not; this tile's part is taken.
        """
        if layer in self._known:
            return self._known[layer]
        if self._map is None:
            self._map = part.new_empty(*part.shape[:2], *(-(-length // stride) for length in self.size))
        rows, columns = (cells(own, stride) for own in self.tile.write)
        inside = [cells(own, stride) for own in self.tile.inside]
        self._map[..., rows, columns] = part[..., inside[0], inside[1]]

        def finish() -> None:
            whole, self._map = self._map, None
            self._known[layer] = None if whole is None else make(whole)

        self._finish = finish
        raise Gathered

    def plane(self, layer: object, part: Tensor) -> GatheredMap:
        """A layer's map of the whole picture, if all tiles have given their parts.

        Args:
            layer: Who asks.
            part: The map of the current tile at the picture's resolution, (B, C, h, w).

        Raises:
            Gathered: If not; this tile's part is taken.
            UserError: If the map is large and there is no room for it on disk.
        """
        if layer in self._known:
            known: GatheredMap = self._known[layer]
            return known
        if self._plane is None:
            self._plane = GatheredMap(part, *self.size)
        self._plane.put(*self.tile.write, part[..., self.tile.inside[0], self.tile.inside[1]])

        def finish() -> None:
            self._known[layer], self._plane = self._plane, None

        self._finish = finish
        raise Gathered

    def end_pass(self) -> None:
        """Completes what the tiles of the last pass have given."""
        if self._finish is not None:
            self._finish()


TILED_PICTURE: ContextVar[TiledPicture | None] = ContextVar("TILED_PICTURE", default=None)
"""Of the picture that this thread computes in tiles; None where pictures are whole."""


def cells(pixels: slice, stride: int) -> slice:
    """The cells of a map that belong to some pixels, which begin at a multiple of the stride."""
    return slice(pixels.start // stride, -(-pixels.stop // stride))


def tiles(height: int, width: int, tile: int, tiling: Tiling) -> list[Tile]:
    """Cuts a picture.

    Args:
        height: Of the picture.
        width: The same.
        tile: Longest side of a tile's own part, >= 1.
        tiling: What is read around it, where there is anything.
    """
    side, margin = tiling.side(tile), tiling.margin
    return [
        Tile((rows[0], columns[0]), (rows[1], columns[1]))
        for rows in _spans(height, side, margin)
        for columns in _spans(width, side, margin)
    ]


def each_tile(
    network: Callable[[Tile], Tensor], height: int, width: int, tile: int, tiling: Tiling
) -> Iterator[tuple[Tile, Tensor]]:
    """Runs a network over the tiles of a picture, and gives its result tile by tile, row by row.

    Args:
        network: Gives (B, C, h, w) of what a tile reads; called several times for each, see above.
        height: Of the picture.
        width: The same.
        tile: Longest side of a tile's own part.
        tiling: What the network needs.

    Yields:
        A tile, and (B, C, h, w) of its own part.
    """
    parts = tiles(height, width, tile, tiling)
    picture = TiledPicture(parts)
    first = _result(network, parts[0], picture)
    while first is None:
        for part in parts[1:]:
            _result(network, part, picture)
        picture.end_pass()
        first = _result(network, parts[0], picture)
    yield parts[0], first
    for part in parts[1:]:
        result = _result(network, part, picture)
        if result is not None:
            yield part, result


def in_tiles(network: Callable[[Tile], Tensor], height: int, width: int, tile: int, tiling: Tiling) -> Tensor:
    """The same, put together.

    Returns:
        (B, C, height, width).
    """
    whole: Tensor | None = None
    for part, result in each_tile(network, height, width, tile, tiling):
        if whole is None:
            whole = result.new_empty(*result.shape[:2], height, width)
        whole[..., part.write[0], part.write[1]] = result
    if whole is None:
        raise ValueError(f"A picture of {height}x{width} pixels has no tile.")
    return whole


def _result(network: Callable[[Tile], Tensor], tile: Tile, picture: TiledPicture) -> Tensor | None:
    """Of the tile's own part; None in a pass that ends before."""
    picture.tile = tile
    token = TILED_PICTURE.set(picture)
    try:
        return network(tile)[..., tile.inside[0], tile.inside[1]]
    except Gathered:
        return None
    finally:
        TILED_PICTURE.reset(token)


def _spans(length: int, tile: int, margin: int) -> list[tuple[slice, slice]]:
    return [
        (slice(max(0, start - margin), min(length, start + tile + margin)), slice(start, min(length, start + tile)))
        for start in range(0, length, tile)
    ]
