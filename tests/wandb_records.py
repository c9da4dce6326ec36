"""Reads what an offline W&B run wrote: the records of its `.wandb` file.

wandb 0.31 has no reader in Python any more (its own is part of a compiled program), but the file is simple: a header of
7 bytes, then LevelDB's log format, blocks of 32 KiB whose fragments hold protocol buffers.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_RECORD: Any = getattr(wandb_internal_pb2, "Record")  # noqa: B009 - a generated module, unknown to mypy
_BLOCK, _HEADER, _START = 32768, 7, 7
_FULL, _LAST = 1, 4


def records(folder: Path, seconds: float = 30) -> list[Any]:
    """Every record of a finished run's folder `offline-run-*`, in order.

    W&B writes in a process of its own, a little later than `finish` returns: waits for the record that says the end.
    """
    (path,) = folder.glob("*.wandb")
    until = time.monotonic() + seconds
    while True:
        found = [_RECORD.FromString(payload) for payload in _payloads(path.read_bytes())]
        if any(kind(record) == "exit" for record in found):
            return found
        assert time.monotonic() < until, f"{folder} has no end"
        time.sleep(0.05)


def kind(record: Any) -> str:
    """What a record is about: history, config, artifact, ..."""
    return str(record.WhichOneof("record_type"))


def _payloads(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    position, parts = _START, b""
    while position + _HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:
            position += left
            continue
        _, length, fragment = struct.unpack_from("<IHB", data, position)
        parts += data[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if fragment in (_FULL, _LAST):
            yield parts
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def history(folder: Path) -> list[dict[str, Any]]:
    """What was logged, one entry per call."""
    return [_items(r.history.item) for r in records(folder) if kind(r) == "history"]


def config(folder: Path) -> dict[str, Any]:
    """The run's configuration."""
    merged: dict[str, Any] = {}
    for record in records(folder):
        if kind(record) in ("config", "run"):
            update = record.config if kind(record) == "config" else record.run.config
            merged |= _items(update.update)
    return merged


def run(folder: Path) -> Any:
    """The run's own record: id, project, group, ..."""
    return next(r.run for r in records(folder) if kind(r) == "run")
