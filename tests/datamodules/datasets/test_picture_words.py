"""Sentences that pictures tell, and words that turn with their picture."""

import itertools
import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Generator

from ivif.contracts.batch import Sample
from ivif.datamodules.configuration import TransformConfig
from ivif.datamodules.datasets import prompts
from ivif.datamodules.datasets.picture_words import describe_pair, turn_words
from ivif.datamodules.datasets.prompt_files import PromptEntry, save_prompts
from ivif.datamodules.datasets.prompts import PromptConfig, PromptedDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.datasets.transforms import RandomFlipRotate90
from ivif.datamodules.pipelines import training
from ivif.datamodules.synthetic import SyntheticDataModule


def _warm(*columns: int) -> torch.Tensor:
    infrared = torch.zeros(1, 120, 160, dtype=torch.uint8)
    for column in columns:
        infrared[:, 50:70, column : column + 12] = 250
    return infrared


def _grey(value: int) -> torch.Tensor:
    return torch.full((3, 120, 160), value, dtype=torch.uint8)


def test_spots_are_counted_where_they_are_and_named_hidden_where_the_visible_picture_is_even() -> None:
    told = describe_pair(_warm(10, 120, 140), _grey(20))
    assert told.endswith("one warm spot on the left and two warm spots on the right, which the visible image lacks.")
    seen = _grey(20)
    seen[:, 50:70, 10:22] = 200
    assert "two of which the visible image lacks" in describe_pair(_warm(10, 120, 140), seen)
    assert "lacks" not in describe_pair(_warm(10), seen)
    assert describe_pair(_warm(), _grey(20)).endswith("shows no warm spots.")


def test_time_fog_and_contrast() -> None:
    split = _grey(10)
    split[..., 80:] = 250
    assert describe_pair(_warm(), _grey(20)).startswith("A scene at night with low contrast.")
    assert describe_pair(_warm(), _grey(170)).startswith("A foggy scene with low contrast.")
    assert describe_pair(_warm(), split).startswith("A daytime scene with high contrast.")
    split[..., :80] = 110
    assert describe_pair(_warm(), split).startswith("A bright daytime scene with high contrast.")


@pytest.mark.parametrize(
    ("mirrored", "upturned", "quarters"), [*itertools.product([True, False], [True, False], range(4))]
)
def test_words_go_where_the_picture_goes(mirrored: bool, upturned: bool, quarters: int) -> None:
    """Marks at the four sides, turned with NumPy's own functions, are where the turned words say."""
    sides = {"left": (1, 0), "top": (0, 1), "right": (1, 2), "bottom": (2, 1)}
    for word, (row, column) in sides.items():
        picture = torch.zeros(3, 3)
        picture[row, column] = 1
        picture = picture.flip(1) if mirrored else picture
        picture = picture.flip(0) if upturned else picture
        picture = torch.rot90(picture, quarters)
        (told,) = [name for name, place in sides.items() if picture[place]]
        assert turn_words(f"A car, {word}.", mirrored, upturned, quarters) == f"A car, {told}."


def test_whole_words_alone_turn_and_keep_their_capital() -> None:
    assert turn_words("Left of a bright light.", True, False, 0) == "Right of a bright light."
    assert turn_words("A car on the left.", False, False, 3) == "A car at the top."


@pytest.mark.parametrize("rotate90", [True, False])
def test_the_training_transform_turns_the_sentence_of_its_picture(rotate90: bool) -> None:
    turn, seen = RandomFlipRotate90(flip=True, rotate90=rotate90), set()
    for seed in range(12):
        sample: Sample = {
            "infrared": _warm(10),
            "visible": _grey(20),
            "name": "a",
            "dataset": "msrs",
            "content_id": "0",
            "prompt": describe_pair(_warm(10), _grey(20)),
        }
        turned = turn(sample, Generator().manual_seed(seed))
        assert turned["prompt"] == describe_pair(turned["infrared"], turned["visible"])
        seen.add(turned["prompt"])
    assert len(seen) == 2


def test_auto_takes_captions_and_leaves_what_came_from_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader, path = SyntheticDataset(3, (64, 64)), tmp_path / "p.jsonl"
    origins = dict(zip(reader.names, ("caption", "template"), strict=False))
    lines = [
        {"dataset": "synthetic", "name": name, "prompt": f"text of {name}", "source": origin}
        for name, origin in origins.items()
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    dataset = PromptedDataset(reader, PromptConfig("auto", path))
    told = [describe_pair(reader[index]["infrared"], reader[index]["visible"]) for index in range(3)]
    expected = [f"text of {reader.names[0]}", *told[1:]]
    assert [dataset[index]["prompt"] for index in range(3)] == expected
    assert [dataset.prompt(index) for index in range(3)] == expected
    assert [dataset.origin(index) for index in range(3)] == ["caption", "pictures", "pictures"]
    assert dataset.known_prompts() == expected[:1]
    assert not dataset.leaks_labels
    assert PromptedDataset(reader, PromptConfig("auto")).prompt(0) == told[0]
    assert "2 of 3 pairs of synthetic have no prompt made without boxes" in caplog.text
    assert "theirs is what their pictures tell" in caplog.text


def test_pictures_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def told(*_: torch.Tensor) -> str:
        looked.append(f"text {len(looked)}")
        return looked[-1]

    monkeypatch.setattr(prompts, "describe_pair", told)
    dataset = PromptedDataset(SyntheticDataset(2, (64, 64)), PromptConfig("auto"))
    assert [dataset[index]["prompt"] for index in (0, 1, 0, 1)] == ["text 0", "text 1"] * 2
    assert len(looked) == 2


@pytest.mark.parametrize(("flip", "rotate90"), [*itertools.product([True, False, "horizontal"], [True, False])])
def test_all_words_that_training_can_make_are_known_before_it(
    flip: bool | Literal["horizontal"], rotate90: bool, tmp_path: Path
) -> None:
    data = SyntheticDataModule(train_length=2, evaluation_length=1, size=(64, 64))
    data.transforms = TransformConfig(crop=32, flip=flip, rotate90=rotate90)
    path, words = tmp_path / "p.jsonl", "A car on the left, a lamp at the top."
    names = [name for stage in ("train", "val") for name in data.stage_readers(stage)[0].names]  # type: ignore[attr-defined]
    save_prompts(path, [PromptEntry("synthetic", name, words) for name in names])
    data.prompts = PromptConfig("auto", path)
    data._readers.clear()
    change, sample = training(data.transforms, data.box_rule()), data.stage_readers("train")[0][0]
    seen = {change(sample, Generator().manual_seed(seed))["prompt"] for seed in range(100)}
    assert data.known_prompts("train") == seen
    assert data.known_prompts("val") == {words}
