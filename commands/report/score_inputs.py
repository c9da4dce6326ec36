"""What `ivif report score` scores: pairs that can be read, fused files by method, and what is wrong with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import read_image, to_infrared, to_visible
from ivif.datamodules.datasets.measured_range import MeasuredRange
from ivif.datamodules.datasets.pair_transforms import fit
from ivif.datamodules.datasets.pairs.records import PairRecord
from ivif.datamodules.datasets.thermal import BY_TYPE, Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import MAX_PIXELS


class Problems:
    """What is wrong with files, by kind: each is a line of the report, all of them are one line on the terminal."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        """How many files."""
        return sum(sum(own.values()) for own in self._found.values())

    def __iter__(self) -> Iterator[str]:
        """All lines, by kind."""
        return (text for own in self._found.values() for text in own)

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Notes one file, or several in one line; the same line counts once.

        Args:
            kind: What follows the number in the summary: "3 unreadable".
            text: What it is, where, and what becomes of it.
            count: How many files.
        """
        self._found.setdefault(kind, {})[text] = count

    def summary(self) -> str:
        """How many of each kind."""
        return ", ".join(f"{sum(own.values())} {kind}" for kind, own in self._found.items())


@dataclass(frozen=True)
class Pair:
    """Two source pictures.

    Attributes:
        record: Their name and files; generated pairs have a name alone.
        read: Gives infrared (1, 1, H, W) and visible (1, 3, H, W), in [0, 1]; raises a `UserError` or `ValueError`.
        dataset: What tables call the set that it belongs to.
    """

    record: PairRecord
    read: Callable[[], tuple[Tensor, Tensor]]
    dataset: str = "folder"


@dataclass
class ScoreInputs:
    """What is to be scored.

    Attributes:
        pairs: By name; what cannot be used is taken out.
        methods: Method -> name -> fused file.
        unusable: Method -> what is wrong with its folder, or with the first of its files that cannot be used.
        problems: What is wrong with files; grows while they are read.
        max_pixels: Most pixels of a picture.
    """

    pairs: dict[str, Pair]
    methods: dict[str, dict[str, Path]]
    unusable: dict[str, str]
    problems: Problems = field(default_factory=Problems)
    max_pixels: int = MAX_PIXELS


def read_pair(
    record: PairRecord, max_pixels: int, problems: Problems, measured: MeasuredRange
) -> tuple[Tensor, Tensor]:
    """Both pictures of a pair, infrared at the visible one's size, more than 8 bits scaled as a dataset's.

    Raises:
        UnreadableFileError: If one cannot be read, or has more pixels.
        ValueError: If its kind is none of a picture.
    """
    visible = read_picture(record.visible, max_pixels, colour=True)
    pixels = _infrared_pixels(record.infrared, max_pixels, problems)
    infrared = to_infrared(pixels, BY_TYPE if pixels.dtype == np.uint8 else measured.get())
    height, width = visible.shape[2:]
    if tuple(infrared.shape[1:]) != (height, width):
        sizes = f"{record.infrared} is {size(infrared)}, its visible image {size(visible)}"
        problems.add("resized to their visible image", f"{sizes}: it is resized to that")
        infrared = fit(infrared, (height, width))
    return _unit(infrared), visible


def _infrared_pixels(path: Path, max_pixels: int, problems: Problems) -> Pixels:
    pixels = read_image(path, max_pixels=max_pixels)
    try:
        return infrared_plane(path, pixels, max_pixels=max_pixels)[0]
    except UnreadableFileError:  # it was read: its colours are of no palette
        problems.add("infrared in colours", f"{path} is in colours of no known palette: its luma is taken")
        return pixels


def read_sample(reader: Dataset[Sample], index: int) -> tuple[Tensor, Tensor]:
    """Both pictures of a dataset's pair, as the reader gives them."""
    sample = reader[index]
    return _unit(sample["infrared"]), _unit(sample["visible"])


def read_picture(path: Path, max_pixels: int, colour: bool = False) -> Tensor:
    """A picture (1, 1 or 3, H, W) in [0, 1].

    Raises:
        UnreadableFileError: If it cannot be read, or has more pixels.
        ValueError: If its kind is none of a picture.
    """
    pixels = read_image(path, max_pixels=max_pixels)
    return _unit(to_visible(pixels) if colour else to_infrared(pixels))


def _unit(plane: Tensor) -> Tensor:
    return (plane.float() / 255.0 if plane.dtype == torch.uint8 else plane.float()).unsqueeze(0)


def size(image: Tensor) -> str:
    """Width and height of a picture (..., H, W)."""
    return f"{image.shape[-1]}x{image.shape[-2]}"
