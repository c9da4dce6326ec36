"""Which pictures a network was trained on: kept in its checkpoints, and compared with the pictures of a test."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import torch
from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.files.errors import UserError

TRAINED_KEY: Final = "trained_pictures"
"""Where a checkpoint keeps them: `pictures`, sorted int64, and `complete`, whether these are all."""

_DIGITS: Final = 16
_MOST: Final = 50_000_000
"""Pictures that a checkpoint may name: some gigabytes of memory."""


class TrainedPicturesError(UserError, ValueError):
    """What a checkpoint says about its training pictures is not what this suite writes."""


class TrainedPictures:
    """Ids of the pictures that a network has learnt from (`Sample.picture_ids`), 8 bytes each.

    A pair counts as known where either of its pictures was trained on: in a new combination it is still no new scene.

    Args:
        ids: Each id as a number of 64 bits with sign.
        complete: Whether no other picture was trained on. Unset where an older checkpoint was the beginning.

    Attributes:
        ids: As above.
        complete: As above.
    """

    def __init__(self, ids: Iterable[int] = (), complete: bool = True) -> None:
        self.ids = set(ids)
        self.complete = complete

    @classmethod
    def read(cls, checkpoint: Mapping[str, Any]) -> Self:
        """Those of a checkpoint, which is data: empty and incomplete where it says nothing about them.

        Raises:
            TrainedPicturesError: If the entry is of another kind than this suite writes.
        """
        if TRAINED_KEY not in checkpoint:
            return cls(complete=False)
        entry = checkpoint[TRAINED_KEY]
        pictures, complete = (entry.get(key) for key in ("pictures", "complete")) if isinstance(entry, dict) else (0, 0)
        if not isinstance(complete, bool) or not isinstance(pictures, Tensor) or not _is_plain(pictures):
            raise TrainedPicturesError(
                f"The checkpoint's '{TRAINED_KEY}' is not what this suite writes (a list of whole numbers, and whether "
                f"it is complete). Take a checkpoint that this suite wrote."
            )
        return cls(pictures.tolist(), complete)

    def entry(self) -> dict[str, Any]:
        """What a checkpoint keeps, the same for the same pictures in whatever order they came."""
        return {"pictures": torch.tensor(sorted(self.ids), dtype=torch.int64), "complete": self.complete}

    def note(self, batch: Batch) -> None:
        """Adds the pictures of a training batch."""
        if "picture_ids" not in batch:
            self.complete = False
            return
        for ids in batch["picture_ids"]:
            self.ids.update(_numbers(ids))

    def add(self, others: "TrainedPictures") -> None:
        """Adds what another network has learnt from: this one begins with its weights, or uses it."""
        self.ids |= others.ids
        self.complete = self.complete and others.complete

    def knows(self, picture_ids: str) -> bool:
        """Whether one of these pictures was trained on."""
        return not self.ids.isdisjoint(_numbers(picture_ids))


def _is_plain(pictures: Tensor) -> bool:
    """Whether a tensor is a list of numbers that a file of its size can hold: strides of 0 would repeat a few."""
    dense = pictures.layout == torch.strided and pictures.device.type != "meta"
    return dense and pictures.dtype == torch.int64 and pictures.ndim == 1 and (
        pictures.is_contiguous() and len(pictures) <= _MOST
    )  # fmt: skip


def _numbers(picture_ids: str) -> tuple[int, ...]:
    return struct.unpack(f">{len(picture_ids) // _DIGITS}q", bytes.fromhex(picture_ids))
