"""How large the batches of a run will be, before one is loaded."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ivif.contracts.batch import BatchSize
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.files.errors import DatasetError, UnreadableFileError


def of_each_process(loading: LoadingConfig, processes: int) -> int:
    """Pairs that each process has in a training batch.

    Args:
        loading: Says how many, and whether processes share them.
        processes: How many there are.

    Raises:
        DatasetError: If the pairs cannot be shared evenly.
    """
    if not loading.share_batch:
        return loading.batch_size
    share, rest = divmod(loading.batch_size, processes)
    if share and not rest:
        return share
    nearest = processes * max(1, round(loading.batch_size / processes))
    raise DatasetError(
        f"{processes} processes cannot share batches of {loading.batch_size} pairs evenly (`loading.share_batch`). Use "
        f"a number of processes that divides {loading.batch_size}, or set `loading.batch_size` to {nearest}."
    )


def largest_batch(
    stage: str,
    batch_size: int,
    transforms: TransformConfig,
    shares: Iterable[tuple[Any, Sequence[int]]],
) -> BatchSize | None:
    """The largest batch of a stage; of frames that keep their size, by the headers of the files.

    Args:
        stage: `train`, `val`, `test` or `predict`.
        batch_size: Of the stage; validation and tests of frames that keep their size have one pair at a time.
        transforms: What decides the size.
        shares: Datasets, and the indices of each that this process reads.

    Returns:
        The size, or None without pairs.
    """
    if stage == "train" and transforms.crop is not None:
        return BatchSize(batch_size, transforms.crop, transforms.crop)
    if size := transforms.frame_size(stage):
        return BatchSize(batch_size, *size)
    pairs = batch_size if stage in ("train", "predict") else 1
    largest = (found for reader, share in shares if (found := _largest(reader, share, pairs)))
    return max(largest, key=lambda found: found.height * found.width, default=None)


def _largest(reader: Any, share: Sequence[int], pairs: int) -> BatchSize | None:
    sizes = ((size, index) for index in share if (size := readable_size(reader, index)))
    largest = max(sizes, key=lambda found: math.prod(found[0]), default=None)
    if largest is None:
        return None
    (height, width), index = largest
    return BatchSize(pairs, height, width, f"{reader.dataset_name}/{reader.names[index]}")


def readable_size(reader: Any, index: int) -> tuple[int, int] | None:
    """(height, width) of a pair; None where a file cannot be read, which the run says when it comes to this pair."""
    try:
        size: tuple[int, int] = reader.image_size(index)
    except UnreadableFileError:
        return None
    return size
