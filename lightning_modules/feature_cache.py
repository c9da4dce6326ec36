"""Disk cache of frozen encoder features, so that no image (or prompt) is encoded twice for the same view."""

import hashlib
import logging
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

from ivif.files.owners import distrust
from ivif.files.whole import write_whole
from ivif.models.clip import ImageTextEncoder

logger = logging.getLogger(__name__)

LAYOUT_VERSION: Final = "1"
"""Raise it when the meaning of a stored entry changes: older entries are then never read."""

Row = NDArray[np.float32]


class FeatureCache:
    """Features by content id and view: a bounded front in memory, and one small safetensors file per entry on disk.

    The folder of an entry is named by a hash of encoder identity and layout version, its file by content id and view:
    another encoder, other weights, another image or another view of it never meet. Files appear whole (temporary file
    beside, then an atomic rename), so several processes may share the folder; two that compute the same entry replace
    each other's equal file. An entry that is truncated, altered (checksum), of another shape, or not finite counts as
    missing, is logged, and is written anew. One that another user wrote, or could have, is neither read nor replaced.

    Args:
        directory: Root of the cache; made when the first entry is written.
        identity: `ImageTextEncoder.identity`: architecture, tag and weights.
        shape: Shape of one entry, such as (2, E) for the infrared and the visible vector of a pair.
        memory_entries: Bound of the front in memory (65,536 pairs of 512 values take 256 MB).
    """

    def __init__(self, directory: Path, identity: str, shape: tuple[int, ...], memory_entries: int = 65536) -> None:
        self.identity = identity
        self.shape = shape
        self._key = f"{identity}|{LAYOUT_VERSION}"
        self.directory = Path(directory) / hashlib.sha256(self._key.encode()).hexdigest()[:16]
        self._memory_entries = memory_entries
        self._memory: OrderedDict[str, Row] = OrderedDict()
        self._writable = True
        self._has_warned = False

    @classmethod
    def for_pairs(cls, directory: Path, encoder: ImageTextEncoder) -> Self:
        """A cache of (infrared, visible) vectors, shape (2, E)."""
        return cls(directory, encoder.identity, (2, encoder.embedding_width))

    def get_or_compute(self, content_ids: Sequence[str], view: str, compute: Callable[[list[int]], Tensor]) -> Tensor:
        """Features (B, *shape), float32 on the CPU, in the order of `content_ids`.

        Args:
            content_ids: Of length B; equal ids are computed once.
            view: How the encoder is shown the images: all that decides the features beside their content and the
                encoder, such as `full-224x224`, the size of the planes.
            compute: Gets the positions that are in no cache, returns their features (len(positions), *shape) on any
                device and of any floating type; not called when everything is there.

        Raises:
            ValueError: If `compute` returns another shape or values that are not finite.
        """
        entries = [f"{content_id}|{view}" for content_id in content_ids]
        first: dict[str, int] = {}
        for position, entry in enumerate(entries):
            first.setdefault(entry, position)
        found = {entry: row for entry in first if (row := self._read(entry)) is not None}
        missing = [entry for entry in first if entry not in found]
        if missing:
            computed = self._checked(compute([first[entry] for entry in missing]), missing)
            for entry, row in zip(missing, computed, strict=True):
                found[entry] = row
                self._remember(entry, row)
                self._write(entry, row)
        return torch.from_numpy(np.stack([found[entry] for entry in entries]))

    def _checked(self, features: Tensor, entries: list[str]) -> Row:
        if tuple(features.shape) != (len(entries), *self.shape):
            raise ValueError(
                f"Features of {len(entries)} items must have shape {(len(entries), *self.shape)}, but the encoder "
                f"gave {tuple(features.shape)}."
            )
        # A copy in plain memory: tensors made in inference mode could not be used in later training steps.
        values: Row = features.detach().to("cpu", torch.float32).numpy().copy()
        broken = [entry for entry, row in zip(entries, values, strict=True) if not np.isfinite(row).all()]
        if broken:
            raise ValueError(
                f"The encoder {self.identity} gave values that are not finite for content ids {', '.join(broken[:4])}. "
                f"Check these images with `ivif data check`."
            )
        return values

    def _path(self, entry: str) -> Path:
        name = hashlib.sha256(entry.encode()).hexdigest()[:32]
        return self.directory / name[:2] / f"{name}.safetensors"

    def _remember(self, entry: str, row: Row) -> None:
        self._memory[entry] = row
        if len(self._memory) > self._memory_entries:
            self._memory.popitem(last=False)

    def _read(self, entry: str) -> Row | None:
        if (row := self._memory.get(entry)) is not None:
            self._memory.move_to_end(entry)
            return row
        path = self._path(entry)
        if self._distrusts(path):
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                row = cast("Row", file.get_tensor("features"))
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("Cached features %s cannot be read (%s); computing them again.", path, error)
            return None
        if problem := self._problem(entry, metadata, row):
            logger.warning("Cached features %s are no good (%s); computing them again.", path, problem)
            return None
        self._remember(entry, row)
        return row

    def _distrusts(self, path: Path) -> bool:
        """Whether an entry is, or lies where it can be, another user's; says so once."""
        reason = distrust(self.directory, path.parent, path)
        if reason and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s: such features are neither read nor kept, but computed again. Choose a folder of your own: "
                "--model.feature_cache FOLDER.",
                reason,
            )
        return bool(reason)

    def _problem(self, entry: str, metadata: dict[str, str], row: Row) -> str:
        if metadata.get("key") != self._key or metadata.get("entry") != entry:
            return "they belong to another image, view or encoder"
        if row.shape != self.shape or row.dtype != np.float32:
            return f"{row.dtype} {row.shape} instead of float32 {self.shape}"
        if metadata.get("checksum") != _checksum(row):
            return "the checksum differs"
        return "" if np.isfinite(row).all() else "not finite"

    def _write(self, entry: str, row: Row) -> None:
        if not self._writable or self._distrusts(self._path(entry)):
            return
        metadata = {"key": self._key, "entry": entry, "checksum": _checksum(row)}
        path = self._path(entry)
        try:
            write_whole(path, save({"features": np.ascontiguousarray(row)}, metadata), durable=False)
        except OSError as error:
            self._writable = False
            logger.warning("Features cannot be cached in %s (%s); they stay in memory only.", self.directory, error)


def _checksum(row: Row) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(row).tobytes()):08x}"
