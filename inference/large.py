"""Pairs of TIFF files that are too large for memory: fused in tiles from file to file.

What is written is what `Fuser` with tiles of that side gives of the files, bit for bit.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.files.errors import UserError
from ivif.files.tiff_writing import write_rows
from ivif.files.whole import whole_file
from ivif.inference.fuser import Fuser
from ivif.inference.large_pair import LargePair, Region

Look = Callable[[], None]


def fuse_large(
    fuser: Fuser, pair: LargePair, out: Path, side: int, prompt: str | None = None, look: Look = lambda: None
) -> None:
    """Fuses a pair into a TIFF file, which has its name when it is complete.

    Of both pictures and of the fused one no more is in memory than a row of tiles.

    Args:
        fuser: What fuses.
        pair: The pictures.
        out: The file.
        side: Of the tiles, in pixels.
        prompt: Text for a network that takes one.
        look: Called whenever a tile is read, of which there may be several passes.

    Raises:
        UserError: If the network needs more of the whole pictures in memory; names one that does not.
        UnreadableFileError: If a file is damaged.
        ValueError: If the network takes no text, or the thermal range does not fit the values.
        OSError: If the file cannot be written.
    """
    if needed := fuser.task.needs_whole:
        raise UserError(
            f"{type(fuser.task).__name__} needs {needed} in memory, so that it does not fuse from file to file. "
            f"mgfusion-light and promptfusion-light do."
        )
    seen: dict[str, Any] = {}
    if fuser.task.glance is not None:
        seen.update(pair.shrunk(fuser.task.glance, fuser.device))
    if prompt is not None:
        seen["prompt"] = fuser.texts([prompt])
    with whole_file(out, durable=False) as stream:
        write_rows(stream, _rows(fuser, pair, cast(Batch, seen), side, look), pair.size, pair.tags)


@torch.no_grad()
def _rows(fuser: Fuser, pair: LargePair, seen: Batch, side: int, look: Look) -> Iterator[NDArray[np.uint8]]:
    """The fused picture, (h, width, 3), a row of tiles at a time."""

    def part(region: Region) -> Batch:
        look()
        return pair.part(region, fuser.device)

    width = pair.size[1]
    for tile, output in fuser.task.fuse_parts(part, seen, pair.size, side):
        rows, columns = tile.write
        if columns.start == 0:
            band = np.empty((rows.stop - rows.start, width, 3), np.uint8)
        band[:, columns] = _bytes(output["fused"])
        if columns.stop == width:
            yield band


def _bytes(fused: Tensor) -> NDArray[np.uint8]:
    """(1, 3, h, w) in [0, 1] as (h, w, 3), rounded as pictures are."""
    levels: NDArray[np.uint8] = (fused[0].clamp(0, 1) * 255).round().byte().cpu().numpy()
    return levels.transpose(1, 2, 0)
