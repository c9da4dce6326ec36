"""Tiny packed datasets, and what must be equal between them and their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from ivif.commands.data.pack import pack
from ivif.contracts.batch import Sample
from ivif.datamodules.base import FusionDataModule

SHARD = 0.005
"""Megabytes of a shard, so that a few tiny pairs fill several."""


def packed(data: FusionDataModule, out: Path | str) -> Path:
    """Packs a dataset; where it is then."""
    assert pack(data, str(out), SHARD) == 0
    return Path(out)


def plain(value: Any) -> Any:
    """A value of samples or batches as what `==` compares exactly, the types of tensors included."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def samples(readers: Sequence[Dataset[Sample]]) -> list[Any]:
    """All samples of some readers, in order, with what is known of each without a look at its pictures."""
    found = []
    for reader in readers:
        known: Any = reader
        for index in range(len(known)):
            sizes = known.image_size(index), plain(known.load_targets(index))
            found.append((known.names[index], plain(dict(known[index])), sizes, known.classes, known.has_labels))
    return found


def same_stages(files: FusionDataModule, shards: FusionDataModule) -> int:
    """Compares the samples of all stages; how many there were."""
    count = 0
    for stage in ("train", "val", "test", "all"):
        expected = samples(files.stage_readers(stage))
        assert samples(shards.stage_readers(stage)) == expected, stage
        count += len(expected)
    return count
