"""Disk cache of frozen encoder features, so that no image (or prompt) is encoded twice for the same view."""

import hashlib
import logging
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from models.clip import ImageTextEncoder

logger = logging.getLogger(__name__)

LAYOUT_VERSION: Final = "1"
"""Raise it when the meaning of a stored entry changes: older entries are then never read."""

Row = NDArray[np.float32]


class FeatureCache:
    """Features by content id: a bounded front in memory, and one small safetensors file per content id on disk.

    The folder of an entry is named by a hash of encoder identity, view and layout version, so another encoder, other
    weights or another view never meet. Files appear whole (temporary file beside, then an atomic rename), so several
    processes may share the folder; two that compute the same entry replace each other's equal file. An entry that is
    truncated, altered (checksum), of another shape, or not finite counts as missing, is logged, and is written anew.

    Args:
        directory: Root of the cache; made when the first entry is written.
        identity: `ImageTextEncoder.identity`: architecture, tag and weights.
        shape: Shape of one entry, such as (2, E) for the infrared and the visible vector of a pair.
        view: What the encoder saw, such as `full-224`.
        memory_entries: Bound of the front in memory (65,536 pairs of 512 values take 256 MB).
    """

    def __init__(
        self, directory: Path, identity: str, shape: tuple[int, ...], view: str = "full", memory_entries: int = 65536
    ) -> None:
        self.identity = identity
        self.shape = shape
        self.view = view
        self._key = f"{identity}|{view}|{LAYOUT_VERSION}"
        self.directory = Path(directory) / hashlib.sha256(self._key.encode()).hexdigest()[:16]
        self._memory_entries = memory_entries
        self._memory: OrderedDict[str, Row] = OrderedDict()
        self._writable = True

    @classmethod
    def for_pairs(cls, directory: Path, encoder: ImageTextEncoder) -> Self:
        """A cache of (infrared, visible) vectors, shape (2, E), of whole frames at the encoder's own size."""
        return cls(directory, encoder.identity, (2, encoder.embedding_width), view=f"full-{encoder.image_size}")

    def get_or_compute(self, content_ids: Sequence[str], compute: Callable[[list[int]], Tensor]) -> Tensor:
        """Features (B, *shape), float32 on the CPU, in the order of `content_ids`.

        Args:
            content_ids: Of length B; equal ids are computed once.
            compute: Gets the positions that are in no cache, returns their features (len(positions), *shape) on any
                device and of any floating type; not called when everything is there.

        Raises:
            ValueError: If `compute` returns another shape or values that are not finite.
        """
        first: dict[str, int] = {}
        for position, content_id in enumerate(content_ids):
            first.setdefault(content_id, position)
        found = {content_id: row for content_id in first if (row := self._read(content_id)) is not None}
        missing = [content_id for content_id in first if content_id not in found]
        if missing:
            computed = self._checked(compute([first[content_id] for content_id in missing]), missing)
            for content_id, row in zip(missing, computed, strict=True):
                found[content_id] = row
                self._remember(content_id, row)
                self._write(content_id, row)
        return torch.from_numpy(np.stack([found[content_id] for content_id in content_ids]))

    def _checked(self, features: Tensor, content_ids: list[str]) -> Row:
        if tuple(features.shape) != (len(content_ids), *self.shape):
            raise ValueError(
                f"Features of {len(content_ids)} items must have shape {(len(content_ids), *self.shape)}, but the "
                f"encoder gave {tuple(features.shape)}."
            )
        # A copy in plain memory: tensors made in inference mode could not be used in later training steps.
        values: Row = features.detach().to("cpu", torch.float32).numpy().copy()
        broken = [c for c, row in zip(content_ids, values, strict=True) if not np.isfinite(row).all()]
        if broken:
            raise ValueError(
                f"The encoder {self.identity} gave values that are not finite for content ids {', '.join(broken[:4])}. "
                f"Check these images with `main.py data check`."
            )
        return values

    def _path(self, content_id: str) -> Path:
        name = hashlib.sha256(content_id.encode()).hexdigest()[:32]
        return self.directory / name[:2] / f"{name}.safetensors"

    def _remember(self, content_id: str, row: Row) -> None:
        self._memory[content_id] = row
        if len(self._memory) > self._memory_entries:
            self._memory.popitem(last=False)

    def _read(self, content_id: str) -> Row | None:
        if (row := self._memory.get(content_id)) is not None:
            self._memory.move_to_end(content_id)
            return row
        path = self._path(content_id)
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                row = cast("Row", file.get_tensor("features"))
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("Cached features %s cannot be read (%s); computing them again.", path, error)
            return None
        if problem := self._problem(content_id, metadata, row):
            logger.warning("Cached features %s are no good (%s); computing them again.", path, problem)
            return None
        self._remember(content_id, row)
        return row

    def _problem(self, content_id: str, metadata: dict[str, str], row: Row) -> str:
        if metadata.get("key") != self._key or metadata.get("content_id") != content_id:
            return "they belong to another image or encoder"
        if row.shape != self.shape or row.dtype != np.float32:
            return f"{row.dtype} {row.shape} instead of float32 {self.shape}"
        if metadata.get("checksum") != _checksum(row):
            return "the checksum differs"
        return "" if np.isfinite(row).all() else "not finite"

    def _write(self, content_id: str, row: Row) -> None:
        if not self._writable:
            return
        metadata = {"key": self._key, "content_id": content_id, "checksum": _checksum(row)}
        path = self._path(content_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, save({"features": np.ascontiguousarray(row)}, metadata))
        except OSError as error:
            self._writable = False
            logger.warning("Features cannot be cached in %s (%s); they stay in memory only.", self.directory, error)


def _checksum(row: Row) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(row).tobytes()):08x}"


def _write_whole(path: Path, content: bytes) -> None:
    # A name of its own, not `tempfile`, whose files other users of a shared folder could not read.
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
