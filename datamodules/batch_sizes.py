"""How large the batches of a run will be, before one is loaded."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ivif.contracts.batch import BatchSize
from ivif.datamodules.configuration import TransformConfig
from ivif.files.errors import UnreadableFileError


def largest_batch(
    stage: str,
    batch_size: int,
    transforms: TransformConfig,
    shares: Iterable[tuple[Any, Sequence[int]]],
) -> BatchSize | None:
    """The largest batch of a stage; of frames that keep their size, by the headers of the files.

    Args:
        stage: `train`, `val`, `test` or `predict`.
        batch_size: Of training, and of evaluation where every frame has one size.
        transforms: What decides the size.
        shares: Datasets, and the indices of each that this process reads.

    Returns:
        The size, or None without pairs.
    """
    if stage == "train" and transforms.crop is not None:
        return BatchSize(batch_size, transforms.crop, transforms.crop)
    if stage != "predict" and transforms.resize is not None:
        return BatchSize(batch_size, *transforms.resize)
    pairs = batch_size if stage == "train" else 1
    sizes = (size for reader, share in shares for size in _sizes(reader, share, pairs))
    return max(sizes, key=lambda size: size.height * size.width, default=None)


def _sizes(reader: Any, share: Sequence[int], pairs: int) -> Iterator[BatchSize]:
    for index in share:
        try:
            height, width = reader.image_size(index)
        except UnreadableFileError:
            continue  # the run ends with its own message when it comes to this pair
        yield BatchSize(pairs, height, width, f"{reader.dataset_name}/{reader.names[index]}")
