"""Fusing a picture in tiles, where it is too large for memory, or where that is asked for."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, cast

from torch import Tensor

from ivif.contracts.batch import Batch, StepOutput
from ivif.image_ops.color import luma, recolor, split_luma_chroma
from ivif.lightning_modules.declaration import Declaration
from ivif.lightning_modules.memory_estimate import MemoryEstimateMixin
from ivif.machine.free_memory import free_memory
from ivif.models.layers.tiling import Tile, each_tile, in_tiles

SIDES: Final = (4096, 3072, 2048, 1536, 1024, 768, 512, 384, 256)
"""Sides of tiles that `auto` chooses from."""

_WHOLE_SHARE: Final = 0.8
"""Of the free memory that fusing a whole picture may take by the estimate: beyond that `auto` takes tiles."""

_TILE_SHARE: Final = 0.5
"""The same of a tile, beside which lie the whole pictures, their result, and what is gathered."""


class TilesMixin(MemoryEstimateMixin, Declaration):
    """Cuts pictures in evaluation as `tile` says."""

    _sides: dict[tuple[int, int, int], int | None] | None = None

    @abstractmethod
    def fuse_images(self, batch: Batch) -> Tensor:
        """The method's network on whole pictures."""

    def fusion_of(self, batch: Batch) -> Callable[[Tensor, Tensor], Tensor]:
        """The network as a function of the same part of both pictures, infrared and visible.

        Args:
            batch: The whole pictures, for what is seen of them once.
        """
        return lambda infrared, visible: self.fuse_images(
            cast("Batch", {**batch, "infrared": infrared, "visible": visible})
        )

    def fuse_by_size(self, batch: Batch) -> Tensor:
        """What `fuse_images` gives, of tiles where the task is to use them."""
        infrared, visible = batch["infrared"], batch["visible"]
        pairs, _, height, width = infrared.shape  # `len` would fix the number in an exported file
        tile, tiling = self.tile_side(pairs, height, width), self.tiling
        if tile is None or tiling is None or tile >= max(height, width):
            return self.fuse_images(batch)
        fusion = self.fusion_of(batch)

        def of(part: Tile) -> Tensor:
            return fusion(infrared[..., *part.read], visible[..., *part.read])

        return in_tiles(of, height, width, tile, tiling)

    @property
    def needs_whole(self) -> str:
        """What the method must have in memory of whole pictures; empty if parts of them will do (`fuse_parts`)."""
        if self.tiling is None:
            return "whole pictures"
        if self.glance is None and type(self).fusion_of is not TilesMixin.fusion_of:
            return "whole pictures, which it sees once"
        return self.tiling.keeps

    def fuse_parts(
        self, pair: Callable[[tuple[slice, slice]], Batch], seen: Batch, size: tuple[int, int], tile: int
    ) -> Iterator[tuple[Tile, StepOutput]]:
        """Fuses a pair that is never in memory as a whole, with the result of `picture` in tiles of that side.

        Args:
            pair: Gives the same rows and columns of both pictures, as often as they are needed.
            seen: In place of the whole pictures: both shrunk as `glance` says; prompts.
            size: (height, width) of the pictures.
            tile: Side of the tiles in pixels.

        Yields:
            A tile, and the fused picture of its own part, from the left to the right, then downwards.

        Raises:
            ValueError: If parts will not do.
        """
        if self.tiling is None or self.needs_whole:
            raise ValueError(f"{type(self).__name__} needs {self.needs_whole} in memory.")
        fusion = self.fusion_of(seen)
        visible: list[Tensor] = []

        def of(part: Tile) -> Tensor:
            both = pair(part.read)
            visible[:] = [both["visible"][..., part.inside[0], part.inside[1]]]
            return fusion(both["infrared"], both["visible"])

        for part, fused in each_tile(of, *size, tile, self.tiling):
            yield part, self.coloured(fused, visible[0])

    def coloured(self, fused: Tensor, visible: Tensor) -> StepOutput:
        """What the network made, with the visible picture's colour if that is a luma.

        Args:
            fused: (B, 1 or 3, H, W).
            visible: (B, 3, H, W).
        """
        fused = fused.float().clamp(0, 1)
        if fused.shape[1] == 3:
            return {"fused": fused, "fused_luma": luma(fused)}
        _, chroma = split_luma_chroma(visible)
        return {"fused": recolor(fused, chroma), "fused_luma": fused}

    def at_once(self, pairs: int, height: int, width: int) -> tuple[int, int, int]:
        """How many pictures, rows and columns the network sees at once of pictures of a size."""
        return self._part((pairs, height, width), self.tile_side(pairs, height, width))

    def smallest_part(self, pairs: int, height: int, width: int) -> tuple[int, int, int]:
        """The same with the smallest tiles that `auto` chooses."""
        return self._part((pairs, height, width), SIDES[-1])

    def _part(self, size: tuple[int, int, int], side: int | None) -> tuple[int, int, int]:
        if side is None or self.tiling is None:
            return size
        read = self.tiling.side(side) + 2 * self.tiling.margin
        return size[0], min(size[1], read), min(size[2], read)

    def tile_side(self, pairs: int, height: int, width: int) -> int | None:
        """The side of the tiles that pictures of a size are cut into; None for none.

        `auto` chooses once for each size.
        """
        if self.training or self.tile is None:
            return None
        if isinstance(self.tile, int):
            return self.tile
        known = self._sides = self._sides or {}
        size = pairs, height, width
        if size not in known:
            known[size] = self._fitting_side(*size)
        return known[size]

    def _fitting_side(self, pairs: int, height: int, width: int) -> int | None:
        free, size = free_memory(self.device), (pairs, height, width)
        if free is None or self._needs(size) <= _WHOLE_SHARE * free:
            return None
        for side in SIDES[:-1]:
            if side < max(height, width) and self._needs(self._part(size, side)) <= _TILE_SHARE * free:
                return side
        return SIDES[-1]

    def _needs(self, size: tuple[int, int, int]) -> int:
        tile, self.tile = self.tile, None
        try:
            return self.estimate_memory(size, training=False) or 0
        finally:
            self.tile = tile
