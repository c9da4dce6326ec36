"""Loaders: how samples become batches."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ivif.contracts.batch import Batch, Sample, collate
from ivif.datamodules.batch_sizes import readable_size
from ivif.datamodules.workers import leave_signals_to_parent


def loader_of(
    dataset: Dataset[Any], batch_size: int, sampler: Any, workers: int, pinned: bool, **collating: Any
) -> DataLoader[Batch]:
    """A loader of batches.

    Args:
        dataset: Of samples, or groups of them, each of which is a batch.
        batch_size: Samples or groups of a batch.
        sampler: Their order; None for that of the dataset.
        workers: Loader processes.
        pinned: Whether batches lie where a GPU reads them from.
        collating: For `collate`.
    """
    joined = _collate_group if isinstance(dataset, SameSizeGroups) else collate
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=partial(joined, **collating),
        worker_init_fn=leave_signals_to_parent,
        pin_memory=pinned,
        persistent_workers=workers > 0,
    )


class SameSizeGroups(Dataset[list[Sample]]):
    """Samples in their order, those of one size that stand next to each other a few at a time.

    Args:
        view: What gives the samples.
        reader: Knows their sizes, by the headers of the files.
        indices: Of the samples that this process reads.
        most: Samples of a group, >= 1.

    Attributes:
        groups: Indices of each group.
    """

    def __init__(self, view: Dataset[Sample], reader: Any, indices: Sequence[int], most: int) -> None:
        self._view = view
        self.groups: list[list[int]] = []
        before: tuple[int, int] | None = None
        for index in indices:
            size = readable_size(reader, index)
            if size is None or size != before or len(self.groups[-1]) == most:
                self.groups.append([])
            self.groups[-1].append(index)
            before = size

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> list[Sample]:
        """The samples of a group."""
        return [self._view[index] for index in self.groups[number]]


def _collate_group(groups: Sequence[Sequence[Sample]]) -> Batch:
    (group,) = groups
    return collate(group)
