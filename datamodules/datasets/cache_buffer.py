"""Decoded planes of many pairs side by side in one flat buffer: in memory, or in one file that is mapped.

The file holds the planes (aligned, channels first), then a JSON index, then its length, its checksum and a magic
word. It is written beside its place and renamed, so that it is there whole or not at all; what was cut off or written
by another version fails at the end of the file, and a checksum for each pair finds the rest. No checksum covers the
padding between planes, which nobody reads.
"""

import errno
import json
import math
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivif.contracts.batch import Sample
from ivif.files.errors import CacheError
from ivif.files.locks import made_once
from ivif.files.owners import distrust
from ivif.files.whole import whole_file
from ivif.machine.free_memory import free_memory

FORMAT_VERSION: Final = 2
"""Raise it when the layout changes, or what samples say beside planes: files of other versions are then built anew."""

_MAGIC: Final = b"IVPLANES"
_FOOTER: Final = struct.Struct("<QI8s")
_ALIGNMENT: Final = 64
_DTYPES: Final = {"uint8": torch.uint8, "float32": torch.float32}
_MEMORY_SHARE: Final = 0.8
"""Of the free memory, what a cache may take: training needs some as well."""


@dataclass(frozen=True)
class Plane:
    """Where a plane lies: key in the sample, (C, H, W), `uint8` or `float32`, and the offset of its first byte."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize

    def view(self, buffer: Tensor) -> Tensor:
        """The plane in a flat uint8 buffer, without a copy."""
        flat = buffer[self.offset : self.offset + self.size]
        return (flat if self.dtype == "uint8" else flat.view(_DTYPES[self.dtype])).view(self.shape)


@dataclass(frozen=True)
class Pair:
    """One pair in the buffer: its planes, and the texts and the checksum that are known once it has been decoded."""

    name: str
    planes: tuple[Plane, ...]
    texts: dict[str, str]
    checksum: int = 0

    def intact(self, buffer: Tensor) -> bool:
        """Whether the planes are what was written."""
        return self.checksum == _checksum(plane.view(buffer) for plane in self.planes)


def lay_out(names: Sequence[str], planes: Iterable[Sequence[Plane]]) -> tuple[list[Pair], int]:
    """Gives every plane of every pair its place; returns the pairs and the bytes in all."""
    pairs, end = [], 0
    for name, announced in zip(names, planes, strict=True):
        placed = []
        for plane in announced:
            offset = -(-end // _ALIGNMENT) * _ALIGNMENT
            placed.append(Plane(plane.key, plane.shape, plane.dtype, offset))
            end = offset + plane.size
        pairs.append(Pair(name, tuple(placed), {}))
    return pairs, end


def fill_memory(
    pairs: Sequence[Pair], size: int, samples: Iterable[Sample], processes: int = 1
) -> tuple[list[Pair], Tensor]:
    """Copies the samples' planes into memory.

    Worker processes share the buffer: forked ones by inheritance, others because torch passes tensors through shared
    memory.

    Args:
        pairs: Their layout.
        size: Bytes of all planes.
        samples: In the order of `pairs`.
        processes: How many processes of this machine do the same now, each for itself.

    Returns:
        The pairs with their texts, and the buffer.

    Raises:
        CacheError: If the memory is short.
    """
    free = free_memory(torch.device("cpu"))
    if free is not None and size * processes > _MEMORY_SHARE * free:
        each = f" for each of {processes} processes" if processes > 1 else ""
        raise CacheError(
            f"The decoded pairs need {describe_size(size)} of memory{each} and {describe_size(free)} are free (a cache "
            f"takes at most {_MEMORY_SHARE:.0%} of it). Set `loading.cache` to 'disk' or 'none'."
        )
    buffer = torch.empty(size, dtype=torch.uint8)
    filled = []
    for pair, sample in zip(pairs, samples, strict=True):
        for plane, values in _checked(pair, sample):
            plane.view(buffer).copy_(values)
        filled.append(Pair(pair.name, pair.planes, _texts(sample)))
    return filled, buffer


def write_file(path: Path, identity: Any, pairs: Sequence[Pair], size: int, samples: Iterable[Sample]) -> None:
    """Writes the samples' planes and their index; the file appears whole or not at all.

    Args:
        path: The file.
        identity: What the content depends on, of JSON types.
        pairs: Their layout.
        size: Bytes of all planes.
        samples: In the order of `pairs`.

    Raises:
        CacheError: If the disk is full, or the folder cannot be written.
    """
    try:
        free = shutil.disk_usage(path.parent).free
        if size > free:
            raise _disk_full(path, size, free)
        with whole_file(path) as file:
            filled = [_write_pair(file, pair, sample) for pair, sample in zip(pairs, samples, strict=True)]
            index = json.dumps({"identity": identity, "pairs": [asdict(pair) for pair in filled]}).encode()
            file.write(index)
            file.write(_FOOTER.pack(len(index), zlib.crc32(index), _MAGIC))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(path, size, shutil.disk_usage(path.parent).free) from error
        raise CacheError(
            f"Cannot write the decoded pairs to '{path.parent}': {error.strerror or error}. Set "
            f"`loading.cache_dir` to a folder that can be written, or `loading.cache` to 'ram' or 'none'."
        ) from error


def open_file(path: Path, identity: Any) -> tuple[list[Pair], Tensor] | str:
    """Maps a file of planes into memory.

    Returns:
        The pairs and the mapped buffer; or, in words, why it has to be built: it is missing, damaged, out of date, or
        may be another user's.
    """
    if reason := distrust(path.parent, path):
        return reason
    try:
        mapped = np.memmap(path, np.uint8, "c")
    except FileNotFoundError:
        return "it does not exist yet"
    except (OSError, ValueError) as error:  # an empty file is a ValueError
        return f"it cannot be read ({error})"
    if len(mapped) < _FOOTER.size:
        return "it is damaged"
    length, checksum, magic = _FOOTER.unpack(mapped[-_FOOTER.size :].tobytes())
    end = len(mapped) - _FOOTER.size - length
    index = mapped[max(0, end) : -_FOOTER.size].tobytes() if magic == _MAGIC else b""
    if magic != _MAGIC or zlib.crc32(index) != checksum:
        return "it is damaged"
    try:
        content = json.loads(index)
        if content["identity"] != json.loads(json.dumps(identity)):
            return "files or reading options have changed"
        pairs = [_pair(entry) for entry in content["pairs"]]
    except (KeyError, TypeError, ValueError, RecursionError):  # a right checksum of what nobody of ours wrote
        return "it is damaged"
    if max((plane.offset + plane.size for pair in pairs for plane in pair.planes), default=0) > end:
        return "it is damaged"
    return pairs, torch.from_numpy(np.asarray(mapped))


@contextmanager
def building(path: Path) -> Iterator[None]:
    """Lets one process at a time build `path`, where the file system can lock; the others wait, and find it built.

    Without locks each process builds a file of its own, and the last one stays.

    Raises:
        CacheError: If the folder cannot be made, or others may write there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if reason := distrust(path.parent):
            raise CacheError(
                f"Decoded pairs are not kept in '{path.parent}': {reason}. Set `loading.cache_dir` to a folder of your "
                f"own, or `loading.cache` to 'ram' or 'none'."
            )
        lock = ExitStack()
        lock.enter_context(made_once(path))
    except OSError as error:
        raise CacheError(
            f"Cannot write to the cache folder '{path.parent}': {error.strerror or error}. Set "
            f"`loading.cache_dir` to a folder that can be written, or `loading.cache` to 'ram' or 'none'."
        ) from error
    with lock:
        yield


def describe_size(size: float) -> str:
    """Bytes in words, e.g. `1.3 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _disk_full(path: Path, size: int, free: int) -> CacheError:
    return CacheError(
        f"The decoded pairs need {describe_size(size)} in '{path.parent}', and {describe_size(free)} are free there. "
        f"Set `loading.cache_dir` to another disk, or `loading.cache` to 'none'; files of other selections in that "
        f"folder may be deleted."
    )


def _write_pair(file: BinaryIO, pair: Pair, sample: Sample) -> Pair:
    planes = []
    for plane, values in _checked(pair, sample):
        file.write(bytes(plane.offset - file.tell()))
        planes.append(values.contiguous())
        file.write(_bytes(planes[-1]))
    return Pair(pair.name, pair.planes, _texts(sample), _checksum(planes))


def _checked(pair: Pair, sample: Sample) -> Iterator[tuple[Plane, Tensor]]:
    for plane in pair.planes:
        values: Tensor = cast("dict[str, Any]", sample)[plane.key]
        if tuple(values.shape) != plane.shape or values.dtype != _DTYPES[plane.dtype]:
            raise CacheError(
                f"'{plane.key}' of '{pair.name}' was announced as {plane.shape} {plane.dtype} but decoded to "
                f"{tuple(values.shape)} {values.dtype}: was the file replaced meanwhile? Start again, or set "
                f"`loading.cache` to 'none'."
            )
        yield plane, values


def _texts(sample: Sample) -> dict[str, str]:
    return {key: value for key, value in sample.items() if isinstance(value, str)}


def _checksum(planes: Iterable[Tensor]) -> int:
    checksum = 0
    for plane in planes:
        checksum = zlib.crc32(_bytes(plane), checksum)
    return checksum


def _bytes(plane: Tensor) -> memoryview:
    """A contiguous plane as bytes, without a copy."""
    values: NDArray[Any] = plane.numpy()
    return values.data.cast("B")


def _pair(entry: dict[str, Any]) -> Pair:
    planes = tuple(Plane(**{**plane, "shape": tuple(plane["shape"])}) for plane in entry["planes"])
    return Pair(entry["name"], planes, entry["texts"], entry["checksum"])
