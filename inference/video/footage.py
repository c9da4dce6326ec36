"""A series of frames with their times: a video file, or a folder of pictures."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES, image_size, is_colourful, read_image
from ivif.datamodules.datasets.palettes import find_palette, intensities
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.names import printable
from ivif.files.videos import as_shown, open_video, picture_stream, rgb_pixels

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream

logger = logging.getLogger(__name__)

_GREY: Final = ("gray", "gray8")
_BYTE: Final = 8
_USUAL_RATE: Final = Fraction(25)
"""Of a video that does not say its own."""

_MISSING: Final = 1.0
"""Seconds by which a video may end before the time that its header gives."""


class Frame(NamedTuple):
    """One picture of a series.

    Attributes:
        time: When it is shown, in seconds.
        pixels: (H, W) or (H, W, 3); uint8, or uint16 or float32 where infrared has more than 8 bits.
    """

    time: float
    pixels: Pixels


@dataclass(frozen=True)
class Footage(ABC):
    """Frames in the order of their times.

    Attributes:
        path: The file or folder.
        infrared: Whether it is infrared, which may have more than 8 bits or false colours; else RGB of 8 bits.
        size: Height and width.
        rate: Frames per second.
        start: Time of the first frame, in seconds, as far as is known.
        end: When the last one ends, where that is known.
        count: About how many frames there are, where that is known.
        has_sound: Whether there is sound beside them.
    """

    path: Path
    infrared: bool
    size: tuple[int, int]
    rate: Fraction
    start: float
    end: float | None
    count: int | None
    has_sound: bool = False

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames from the first one, one in memory at a time.

        Raises:
            UnreadableFileError: If a frame cannot be read.
        """


class VideoFile(Footage):
    """A video file."""

    @classmethod
    def open(cls, path: Path, infrared: bool) -> "VideoFile":
        """Reads the header.

        Raises:
            MissingVideoLibraryError: If PyAV is not installed.
            UnreadableFileError: If it is no video, or has no pictures.
        """
        with open_video(path) as container:
            stream = picture_stream(path, container)
            first = next(container.decode(stream), None)
            if first is None:
                raise UnreadableFileError(path, "it holds no whole frame", "Give the video that the camera stored.")
            rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
            length = _length(stream)
            start = float(first.time or 0.0)
            count = stream.frames or (round(length * rate) if length else None)
            height, width = as_shown(first, np.empty((first.height, first.width))).shape
            end = start + length if length else None
            return cls(path, infrared, (height, width), rate, start, end, count, bool(container.streams.audio))

    def frames(self) -> Iterator[Frame]:
        """See `Footage`. Frames that the decoder had to mend, and an end before its time, are warned of."""
        palette: str | None = None
        damaged: list[float] = []
        time = self.start
        with open_video(self.path) as container:
            stream = picture_stream(self.path, container)
            stream.thread_type = "AUTO"
            for number, frame in enumerate(container.decode(stream)):
                time = frame.time if frame.time is not None else self.start + number / float(self.rate)
                pixels = as_shown(frame, _infrared_pixels(frame) if self.infrared else rgb_pixels(frame))
                if number == 0 and self.infrared:
                    palette = self._palette(pixels)
                damaged += [time] if frame.is_corrupt else []
                yield Frame(time, intensities(pixels, palette) if palette else pixels)
        name = printable(self.path)
        if damaged:
            logger.warning("'%s': %d damaged frames, the first at %.2f s.", name, len(damaged), damaged[0])
        if self.end is not None and time < self.end - _MISSING - 1 / self.rate:
            logger.warning("'%s' is cut off: it ends at %.2f s instead of %.2f s.", name, time, self.end)

    def _palette(self, pixels: Pixels) -> str | None:
        """The palette of all frames, if the first one is in colours.

        Raises:
            UnreadableFileError: If no known palette has them.
        """
        if pixels.dtype != np.uint8 or not is_colourful(pixels):
            return None
        palette = find_palette(pixels)
        if palette is None:
            reason = "it is infrared in colours of no known palette; is it the visible video? Then exchange the two"
            raise UnreadableFileError(self.path, reason, "Else take the grey video of the camera.")
        return palette


class FrameFolder(Footage):
    """A folder of pictures, one a frame, in the order of the numbers in their names."""

    @classmethod
    def open(cls, path: Path, infrared: bool, rate: Fraction) -> "FrameFolder":
        """Looks through the folder.

        Args:
            path: The folder.
            infrared: Whether it is infrared.
            rate: Frames per second.

        Raises:
            UnreadableFileError: If it holds no picture.
        """
        pictures = _pictures(path)
        if not pictures:
            raise UnreadableFileError(path, "it holds no picture", "Name a video, or a folder of its frames.")
        return cls(path, infrared, image_size(pictures[0]), rate, 0.0, float(len(pictures) / rate), len(pictures))

    def frames(self) -> Iterator[Frame]:
        """See `Footage`."""
        for number, path in enumerate(_pictures(self.path)):
            pixels = read_image(path, luma=self.infrared)
            if self.infrared:
                pixels, _ = infrared_plane(path, pixels)
            elif pixels.ndim == 2:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            if pixels.shape[:2] != self.size:
                sizes = [f"{width}x{height}" for height, width in (pixels.shape[:2], self.size)]
                reason = f"it has {sizes[0]} pixels, the frames before it {sizes[1]}"
                raise UnreadableFileError(path, reason, "Frames of a video have one size.")
            yield Frame(float(number / self.rate), pixels)


def footage_of(path: Path, infrared: bool, frame_rate: float) -> Footage:
    """A video file, or a folder of frames.

    Args:
        path: The file or folder.
        infrared: Whether it is infrared.
        frame_rate: Frames per second of a folder.

    Raises:
        MissingVideoLibraryError: If PyAV is not installed.
        UnreadableFileError: If it is no video, or holds no picture.
    """
    if path.is_dir():
        return FrameFolder.open(path, infrared, Fraction(frame_rate).limit_denominator(1001))
    return VideoFile.open(path, infrared)


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path.name)])


def _parts(name: str) -> list[str]:
    """Text and numbers of a name by turns, text first."""
    return re.split(r"([0-9]+)", name)


def _length(stream: "VideoStream") -> float | None:
    """Seconds of the pictures, as the file gives them."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    noted = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(noted[1]) + 60 * int(noted[2]) + float(noted[3]) if noted else None


def _infrared_pixels(frame: "VideoFrame") -> Pixels:
    """(H, W) or (H, W, 3) uint8, or (H, W) uint16."""
    if max(component.bits for component in frame.format.components) > _BYTE:
        return frame.reformat(format="gray16le").to_ndarray()
    return frame.to_ndarray() if frame.format.name in _GREY else rgb_pixels(frame)
