"""A map of a whole picture, of which tiles give and take parts."""

import os
import tempfile
import weakref
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivif.files.errors import UserError

IN_MEMORY: Final = 2**28
"""Bytes of a map that stays in memory on a CPU: 256 MiB. Larger ones lie in a file without a name, below `TMPDIR`."""


class GatheredMap:
    """Filled tile by tile, then read in parts.

    Args:
        part: (B, C, h, w) of the first tile, for what is the same in the others.
        height: Of the whole map.
        width: The same.

    Raises:
        UserError: If there is no room for the file of a large map; names the folder.
    """

    def __init__(self, part: Tensor, height: int, width: int) -> None:
        self._like = part.new_empty(0)
        shape = *part.shape[:2], height, width
        # NumPy has no bfloat16.
        stored = part.new_empty(0, dtype=torch.promote_types(part.dtype, torch.float32))
        size = stored.element_size() * int(np.prod(shape))
        self._planes: Tensor | None = None
        self._file: Any = None
        if part.is_cpu and size > IN_MEMORY:
            self._file = _reserved(size)
            weakref.finalize(self, self._file.close)
            self._shape, self._kind = shape, stored.numpy().dtype
        else:
            self._planes = part.new_empty(shape)

    def put(self, rows: slice, columns: slice, values: Tensor) -> None:
        """Takes the part (B, C, r, c) of a tile.

        Raises:
            OSError: If a file cannot be written.
        """
        if self._planes is None:
            self._mapped()[..., rows, columns] = values.to(torch.promote_types(values.dtype, torch.float32)).numpy()
        else:
            self._planes[..., rows, columns] = values

    def picked(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, C, r, c) at r rows and c columns, int64 indices on the CPU in any order."""
        if self._planes is None:
            values = self._mapped()[..., rows.numpy()[:, None], columns.numpy()]
            return torch.from_numpy(values).to(self._like)
        device = self._planes.device
        return self._planes.index_select(-2, rows.to(device)).index_select(-1, columns.to(device))

    def _mapped(self) -> NDArray[Any]:
        """Only while it is used: what is mapped counts as memory of this process."""
        mapped: NDArray[Any] = np.memmap(self._file, self._kind, "r+", shape=self._shape)
        return mapped


def _reserved(size: int) -> Any:
    stream = tempfile.TemporaryFile(prefix="ivif-")  # noqa: SIM115 - open as long as the map lives
    try:
        if hasattr(os, "posix_fallocate"):
            # A disk that fills up while a hole is written through a mapping ends the process.
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.truncate(size)
    except OSError as error:
        stream.close()
        raise UserError(
            f"The network keeps {size / 2**30:.1f} GiB of the whole picture in a file below '{tempfile.gettempdir()}', "
            f"where there is no room ({error.strerror}): set TMPDIR to a folder on a disk that has."
        ) from error
    return stream
