"""Stored pictures as further planes: fused images that another run wrote, or this run's results of the last epoch."""

import json
import math
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self, cast

from torch import Tensor
from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.contracts.run_files import STORE_RECORD, set_aside
from ivif.datamodules.datasets import pair_transforms
from ivif.datamodules.datasets.io import read_image, to_infrared, to_visible
from ivif.files.errors import DatasetError
from ivif.files.pictures import MAX_PIXELS


class StoredPlaneError(DatasetError):
    """A stored picture is missing, or is not of its pair's size."""


def dataset_of(reader: Dataset[Sample]) -> str:
    """The name under which a reader's pictures are stored."""
    return str(getattr(reader, "dataset_name", type(reader).__name__))


def several_datasets(readers: Sequence[Dataset[Sample]]) -> bool:
    """Whether names of pairs may overlap, so that pictures need a folder for each dataset."""
    return len({dataset_of(reader) for reader in readers}) > 1


class StoredPlanes(Dataset[Sample]):
    """A reader whose samples carry one more plane, read from a folder of pictures.

    The folder is laid out as `ivif predict` writes it: `FOLDER/<dataset>/<name>.png`, or, for one data set alone,
    `FOLDER/<name>.png`; the first counts where both are there. A picture is read from its file at each visit: loader
    processes see at once what was written anew. Wrap a cached reader, so that pairs are cached and pictures are not.

    Args:
        reader: Any reader of pairs, before geometric transforms: the plane then goes through them with the pair.
        folder: The folder of pictures.
        key: Name of the plane.
        channels: 1 reads the luma of the pictures, 3 their colours (grey is repeated).
        several: Whether pairs of several data sets are read, whose names may overlap: only `FOLDER/<dataset>/` counts.
        resized: (height, width) that a picture may have instead of its pair's, because both are resized to it later.
    """

    def __init__(
        self,
        reader: Dataset[Sample],
        folder: Path,
        key: Literal["fused", "previous"],
        channels: Literal[1, 3],
        *,
        several: bool = False,
        resized: tuple[int, int] | None = None,
    ) -> None:
        self.reader = reader
        self.folder = folder
        self.key = key
        self.channels = channels
        self.several = several
        self.resized = resized

    def __len__(self) -> int:
        return len(self.reader)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        extended: dict[str, Any] = dict(self.reader[index])
        extended[self.key] = self._read(cast("Sample", extended))
        return cast("Sample", extended)

    @property
    def epoch(self) -> int | None:
        """The epoch whose results the folder holds, as its record says; None while there are none or not all."""
        try:
            return int(json.loads((self.folder / STORE_RECORD).read_text(encoding="utf-8"))["epoch"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise StoredPlaneError(
                f"'{self.folder / STORE_RECORD}' does not say which epoch made the pictures: it must hold "
                f'{{"epoch": NUMBER}}. Remove the folder, and let the run write it again.'
            ) from error

    def of_epoch(self, epoch: int) -> Self | None:
        """The same reader with the results of an epoch; None where there are none.

        They lie in the folder itself, or beside it (`set_aside`) where a resumed run goes back to an earlier epoch.
        """
        for folder in (self.folder, set_aside(self.folder, epoch)):
            found = copy(self)
            found.folder = folder
            if found.epoch == epoch:
                return found
        return None

    def path(self, dataset: str, name: str) -> Path:
        """Where the picture of a pair lies, or should lie."""
        folders = (self.folder / dataset,) if self.several else (self.folder / dataset, self.folder)
        stems = dict.fromkeys((name, name.casefold()))  # names by a pattern were once in lower case
        paths = [folder / f"{stem}.png" for folder in folders for stem in stems]
        return next((path for path in paths if path.is_file()), paths[0])

    def check(self, dataset: str, names: Iterable[str]) -> None:
        """Makes sure that pairs have their pictures, without reading these.

        Raises:
            StoredPlaneError: If pictures are missing; names the first of them and the remedy.
        """
        wanted = list(names)
        missing = [path for name in wanted if not (path := self.path(dataset, name)).is_file()]
        if missing:
            raise self._missing(missing[0], f"{len(missing)} of {len(wanted)} pairs of {dataset} have")

    def _read(self, sample: Sample) -> Tensor:
        path = self.path(sample["dataset"], sample["name"])
        if not path.is_file():
            raise self._missing(path, f"{sample['dataset']}/{sample['name']} has")
        most = max(
            MAX_PIXELS, math.prod(pair_transforms.frame_size(sample))
        )  # a pair that was read has a picture of its size
        pixels = read_image(path, luma=self.channels == 1, checked=True, max_pixels=most)
        plane = to_infrared(pixels) if self.channels == 1 else to_visible(pixels)
        size, found = pair_transforms.frame_size(sample), tuple(plane.shape[-2:])
        if found not in (size, self.resized):
            raise StoredPlaneError(
                f"'{path}' has {found[1]}x{found[0]} pixels, its pair {size[1]}x{size[0]}. Fuse the pair again at its "
                f"own size, or set `transforms.resize` to the size of the pictures."
            )
        return plane

    def _missing(self, path: Path, whose: str) -> StoredPlaneError:
        remedy = f"Fuse them first: `ivif predict ... --output_dir {self.folder}` with the same --data"
        if self.key == "previous":
            remedy = f"Remove '{self.folder / STORE_RECORD}', which says that the store is complete"
        elsewhere = "" if self.several else f" (nor is '{self.folder / path.name}')"
        return StoredPlaneError(f"{whose} no '{self.key}' picture: '{path}' is not there{elsewhere}. {remedy}.")
