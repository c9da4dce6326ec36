"""Which of the pairs that a trained network is shown it has learnt from: scores on these say little about new pairs."""

import logging
from typing import Final

from lightning import LightningModule

from ivif.contracts.batch import Batch
from ivif.contracts.trained_pictures import TrainedPictures
from ivif.machine.process_group import gather_objects

logger = logging.getLogger(__name__)

TRAINED_ON: Final = "trained on"
"""The column of tables."""

OVERALL: Final = "all"
"""Name of the block of a table that is over every image of every dataset."""

_NAMED: Final = 3


class TrainedPairs:
    """Counts the pairs with a picture that a network has learnt from.

    Args:
        learnt: The pictures that it has learnt from.
    """

    def __init__(self, learnt: TrainedPictures) -> None:
        self.learnt = learnt
        self._found: dict[tuple[str, str], bool] = {}

    def update(self, batch: Batch) -> None:
        """Looks at the pairs of a batch; a pair that comes again counts once."""
        if "picture_ids" not in batch:
            self.learnt.complete = False
        found = batch.get("picture_ids", [""] * len(batch["name"]))
        for dataset, name, ids in zip(batch["dataset"], batch["name"], found, strict=True):
            self.look(dataset, name, ids)

    def look(self, dataset: str, name: str, picture_ids: str) -> None:
        """Looks at one pair, by the ids of its pictures."""
        self._found[dataset, name] = self.learnt.knows(picture_ids)

    def gather(self) -> None:
        """Has each process know what all have seen; all must call it."""
        for found in gather_objects(self._found):
            self._found |= found

    def mark(self, dataset: str, name: str) -> str:
        """Whether a pair was trained on, as a cell of a table."""
        return "yes" if self._found[dataset, name] else "no" if self.learnt.complete else "not known"

    def text(self, dataset: str = OVERALL) -> str:
        """How many pairs of a data set, or of all, were trained on, as a cell of a table."""
        found = [known for (own, _), known in self._found.items() if dataset in (OVERALL, own)]
        if self.learnt.complete:
            return f"{sum(found)} of {len(found)}"
        return f"{sum(found)} of {len(found)} or more" if any(found) else "not known"

    def concerns(self) -> bool:
        """Whether a pair was trained on, or nobody knows."""
        return any(self._found.values()) or not self.learnt.complete

    def warn(self, whose: str) -> None:
        """Says how many of the pairs were trained on, or that it is not known; nothing where none was.

        Args:
            whose: What the weights are called.
        """
        names = [f"{dataset}/{name}" for (dataset, name), known in self._found.items() if known]
        if names:
            logger.warning(
                "%s was trained on %s of these pairs (%s%s): scores on them say little about new pairs. Choose the "
                "`manifest` that it was trained with, which keeps both apart, or other pairs.",
                whose,
                self.text(),
                ", ".join(names[:_NAMED]),
                ", ..." if len(names) > _NAMED else "",
            )
        elif not self.learnt.complete:
            logger.warning(
                "%s: its checkpoint does not say which pictures it was trained on (an older version wrote it, or the "
                "one that it began from), so whether these pairs are among them is not known.",
                whose,
            )


def trained_pairs(module: LightningModule) -> TrainedPairs | None:
    """A count for a task; None where it has no weights that could have learnt from a picture."""
    learnt = getattr(module, "learnt_from", None)
    return TrainedPairs(learnt()) if learnt is not None and getattr(module, "needs_weights", True) else None
