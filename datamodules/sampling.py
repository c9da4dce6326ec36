"""Which pair is drawn when: stateless, so that a run stopped at any batch goes on with exactly the pairs it would have.

The order of an epoch depends on (seed, epoch) alone and the augmentation of a pair on (seed, epoch, index) alone.
Workers therefore carry no state: the sampler hands them (epoch, index), and resuming only means starting the list
further on.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from ivif.contracts.batch import Sample
from ivif.contracts.seeds import mix_seed
from ivif.datamodules.datasets.mosaic import Mosaic
from ivif.datamodules.datasets.stored import StoredPlanes
from ivif.datamodules.datasets.transforms import Transform

Draw = tuple[int, int]
"""(epoch, index): what the sampler yields and a `TrainingView` takes."""


class EpochSampler(Sampler[Draw]):
    """Draws one rank's share of a seeded permutation, the same number on every rank and whole batches only.

    Each epoch is a new permutation of all pairs, cut to a multiple of `batch_size * world_size`: what is cut differs
    from epoch to epoch. A dataset smaller than one such batch is repeated until it fills one.

    Args:
        length: Number of pairs.
        batch_size: Pairs per batch and rank.
        seed: The run's data seed.
        rank: This process's rank.
        world_size: Number of processes.
        parts: Number of pairs of each dataset, in their order, to draw as many of each in an epoch (as nearly as its
            length can be divided): of a small one some repeatedly, of a large one some not at all. () draws every pair
            with the same chance.
        position: Asked once, at the first iteration: (epoch, batches already done in it) of the run. Only then, because
            a trainer that resumes may make its loaders before it knows.

    Raises:
        ValueError: If there are no pairs, or the parts are not all of them.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        parts: Sequence[int] = (),
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        if length < 1:
            raise ValueError("There are no training pairs to draw from.")
        if parts and sum(parts) != length:
            raise ValueError(f"Parts of {tuple(parts)} pairs are {sum(parts)}, not the {length} to draw from.")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.parts = tuple(part for part in parts if part)
        self.epoch = 0
        self._position = position

    @property
    def batches(self) -> int:
        """Batches per epoch and rank, at least one."""
        return max(1, self.length // (self.batch_size * self.world_size))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose permutation the next iteration draws (Lightning calls it at every epoch's start)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        skip = 0
        if self._position is not None:
            self.epoch, done = self._position()
            skip = done * self.batch_size if done < self.batches else 0
            self._position = None
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        needed = self.batches * self.batch_size * self.world_size
        order = self._order(needed, generator)
        epoch = self.epoch
        return iter([(epoch, index) for index in order[self.rank :: self.world_size]][skip:])

    def _order(self, needed: int, generator: torch.Generator) -> list[int]:
        if len(self.parts) < 2:
            return _shuffled(self.length, needed, generator)
        shares = [needed // len(self.parts) + (place < needed % len(self.parts)) for place in range(len(self.parts))]
        starts = itertools.accumulate(self.parts, initial=0)
        drawn = [
            start + index
            for start, part, share in zip(starts, self.parts, shares, strict=False)
            for index in _shuffled(part, share, generator)
        ]
        return [drawn[place] for place in _shuffled(needed, needed, generator)]


def _shuffled(length: int, needed: int, generator: torch.Generator) -> list[int]:
    """So many of the first numbers in random order, the whole order again where more are needed than there are."""
    order: list[int] = torch.randperm(length, generator=generator).tolist()
    return (order * math.ceil(needed / length))[:needed]


class EvaluationSampler(Sampler[int]):
    """One rank's share of a dataset, in its order; each pair comes once over all ranks, unless they must be evened out.

    They always are where there are fewer pairs than ranks: Lightning leaves out a rank without any batch, for which the
    others would wait when scores are gathered.

    Args:
        length: Number of pairs.
        rank: This process's rank.
        world_size: Number of processes.
        repeat: Give every rank equally many, by repeating the first pairs. Validation inside `fit` needs it: DDP shares
            buffers at every forward pass and waits for all ranks there.
    """

    def __init__(self, length: int, rank: int = 0, world_size: int = 1, repeat: bool = False) -> None:
        evened = repeat or length < world_size
        needed = math.ceil(length / world_size) * world_size if evened else length
        self.indices = [index % length for index in range(rank, needed, world_size)]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class TrainingView(Dataset[Sample]):
    """A reader seen through random joint transforms, deterministic by (seed, epoch, index).

    Args:
        reader: Map-style dataset of samples.
        transform: Joint transform that takes every random number from the generator it is given.
        seed: The run's data seed.
        prepare: What is done to each whole frame first, without randomness.
        mosaic: Joins frames between `prepare` and `transform`.
        previous: The same reader with the last epoch's results as planes. It is read in the epoch that follows the
            stored one; in every other epoch (the first, say) samples have no such plane.
    """

    def __init__(
        self,
        reader: Dataset[Sample],
        transform: Transform,
        seed: int = 0,
        prepare: Sequence[Transform] = (),
        mosaic: Mosaic | None = None,
        previous: StoredPlanes | None = None,
    ) -> None:
        self.reader = reader
        self.transform = transform
        self.seed = seed
        self.prepare = tuple(prepare)
        self.mosaic = mosaic
        self.previous = previous

    def __len__(self) -> int:
        return len(self.reader)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw) -> Sample:
        """The augmented sample of `(epoch, index)`."""
        epoch, index = draw
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, index))
        others = self.mosaic.others(len(self), generator) if self.mosaic is not None else []
        stored = self.previous.of_epoch(epoch - 1) if self.previous is not None else None
        reader: Any = self.reader if stored is None else stored
        frames = [self._prepared(reader[each], generator) for each in (index, *others)]
        sample = self.mosaic.join(frames, generator) if self.mosaic is not None and others else frames[0]
        return self.transform(sample, generator)

    def _prepared(self, sample: Sample, generator: torch.Generator) -> Sample:
        for step in self.prepare:
            sample = step(sample, generator)
        return sample


class EvaluationView(Dataset[Sample]):
    """A reader seen through fixed transforms (resize, views), the same at every visit.

    Args:
        reader: Map-style dataset of samples.
        transform: Joint transform without randomness.
    """

    def __init__(self, reader: Dataset[Sample], transform: Transform) -> None:
        self.reader = reader
        self.transform = transform

    def __len__(self) -> int:
        return len(self.reader)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`."""
        return self.transform(self.reader[index], torch.Generator().manual_seed(index))
