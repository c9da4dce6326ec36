"""What is registered: both pictures of a pair, infrared as its camera measured it, the visible one grey."""

from pathlib import Path

import numpy as np

from ivif.commands.data.inspection import PairSource
from ivif.datamodules.datasets.base import DEFAULT_READING, ReadingConfig
from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import read_image, to_infrared
from ivif.datamodules.start_checks import files_of
from ivif.registration.geometry import Plane


def planes_of(dataset: PairSource, index: int) -> tuple[str, Plane, Plane]:
    """A pair's name and both pictures (H, W), each in its own size where they are files.

    Raises:
        DatasetError: If a file cannot be read.
    """
    files = files_of(dataset)
    if files is None:
        sample = dataset[index]
        return sample["name"], sample["infrared"][0].numpy(), sample["visible"].float().mean(0).numpy()
    record, reading = files.records[index], files.reading
    return record.name, measured_plane(record.infrared, reading), grey_plane(record.visible, reading)


def measured_plane(path: Path, reading: ReadingConfig = DEFAULT_READING) -> Plane:
    """An infrared file (H, W), with all its bits."""
    pixels = read_image(path, luma=True, max_pixels=reading.max_pixels)
    pixels = infrared_plane(path, pixels, reading.infrared_color, reading.max_pixels)[0]
    return pixels if pixels.ndim == 2 else to_infrared(pixels)[0].numpy()


def grey_plane(path: Path, reading: ReadingConfig = DEFAULT_READING) -> Plane:
    """A visible file (H, W)."""
    pixels = read_image(path, luma=True, max_pixels=reading.max_pixels)
    return pixels if pixels.ndim == 2 else np.asarray(pixels.mean(2))
