"""What a checkpoint says of its training pictures: exact, compact, and data where it comes from a stranger."""

from typing import Any

import pytest
import torch

from ivif.contracts.trained_pictures import TRAINED_KEY, TrainedPictures, TrainedPicturesError
from ivif.testing.batches import make_batch


def _noted(*ids: str) -> TrainedPictures:
    learnt, batch = TrainedPictures(), make_batch(len(ids))
    batch["picture_ids"] = list(ids)
    learnt.note(batch)
    return learnt


def test_what_was_noted_is_kept_sorted_in_eight_bytes_a_picture_and_read_back() -> None:
    learnt = _noted("00000000000000ff" + "fffffffffffffffe", "00000000000000ff" + "0000000000000001")
    entry = learnt.entry()
    assert entry["pictures"].tolist() == [-2, 1, 255]
    assert entry["pictures"].nbytes == 24
    again = TrainedPictures.read({TRAINED_KEY: entry})
    assert (again.ids, again.complete) == (learnt.ids, True)


def test_a_pair_is_known_by_either_of_its_pictures() -> None:
    learnt = _noted("00000000000000ff" + "fffffffffffffffe")
    assert learnt.knows("0000000000000001" + "fffffffffffffffe")
    assert learnt.knows("00000000000000ff" + "0000000000000001")
    assert not learnt.knows("0000000000000001" + "0000000000000002")
    assert not learnt.knows("")


def test_what_is_not_said_is_not_known() -> None:
    assert not TrainedPictures.read({}).complete
    learnt = TrainedPictures()
    learnt.note(make_batch(1))  # of a reader that names no pictures
    assert not learnt.complete
    whole = _noted("00000000000000ff" + "fffffffffffffffe")
    whole.add(learnt)
    assert (whole.ids, whole.complete) == ({255, -2}, False)


@pytest.mark.parametrize(
    "entry",
    [
        "all",
        {},
        {"pictures": [1, 2], "complete": True},
        {"pictures": torch.tensor([1, 2]), "complete": 1},
        {"pictures": torch.tensor([1.0, 2.0]), "complete": True},
        {"pictures": torch.tensor([[1, 2]]), "complete": True},
        {"pictures": torch.tensor([1]).expand(10**12), "complete": True},
        {"pictures": torch.tensor([1, 2]).to_sparse(), "complete": True},
        {"pictures": torch.tensor([1, 2], device="meta"), "complete": True},
    ],
)
def test_an_entry_of_another_kind_is_refused(entry: Any) -> None:
    with pytest.raises(TrainedPicturesError, match="'trained_pictures' is not what this suite writes"):
        TrainedPictures.read({TRAINED_KEY: entry})
