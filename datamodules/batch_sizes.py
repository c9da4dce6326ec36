"""How large the batches of a run will be, before one is loaded."""

from collections.abc import Iterable, Iterator, Sequence
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
    sizes = (size for reader, share in shares for size in _sizes(reader, share, pairs))
    return max(sizes, key=lambda size: size.height * size.width, default=None)


def _sizes(reader: Any, share: Sequence[int], pairs: int) -> Iterator[BatchSize]:
    for index in share:
        try:
            height, width = reader.image_size(index)
        except UnreadableFileError:
            continue  # the run ends with its own message when it comes to this pair
        yield BatchSize(pairs, height, width, f"{reader.dataset_name}/{reader.names[index]}")
