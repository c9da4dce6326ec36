"""What camera files hold, one pair of pictures after the other, ready to be stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np

from ivif.datamodules.cameras.dji import read_dji
from ivif.datamodules.cameras.flir import flir_records, read_flir
from ivif.datamodules.cameras.jpeg_parts import jpeg_parts
from ivif.datamodules.cameras.kinds import CameraFile
from ivif.datamodules.cameras.pairing import Partners
from ivif.datamodules.cameras.tiffs import tiff_pages
from ivif.datamodules.cameras.videos import VideoFrame, video_frames
from ivif.datamodules.datasets.infrared_color import InfraredColor, palette_of
from ivif.datamodules.datasets.io import is_colourful, read_image, to_infrared
from ivif.datamodules.datasets.palettes import intensities
from ivif.datamodules.datasets.temperatures import ZERO, Unit, from_centikelvin, to_centikelvin
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import open_picture

GivenUnit = Literal["counts", "celsius", "kelvin", "centikelvin"]
Store = Literal["centikelvin", "celsius"]

_EXACT: Final = 1 << 24
"""Integers up to which float32 holds each."""

_ENDINGS: Final = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "PPM": ".ppm",
}
"""Of a picture that is stored as it is, by what its content is."""


@dataclass(frozen=True)
class ImportConfig:
    """How files of cameras are imported.

    Args:
        unit: What the numbers of pictures and videos of more than 8 bits are that do not say it: `counts` of a sensor
            (stored as they are), or temperatures in `celsius`, `kelvin` or `centikelvin`.
        store: How temperatures are stored: `centikelvin` in 16-bit PNG (-273.15 to 382.2 degrees, in steps of 0.01), or
            `celsius` in TIFF of 32-bit floats.
        infrared_color: Infrared in false colours: `invert` those of a known palette, take the `luma`, or `refuse`.
        every: Of a video or a TIFF of many pages every n-th picture.
        seconds: Most seconds between partners that are found by their time.
    """

    unit: GivenUnit = "counts"
    store: Store = "centikelvin"
    infrared_color: InfraredColor = "invert"
    every: int = 1
    seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}; it must be 1 or more.")
        if not self.seconds >= 0:
            raise ValueError(f"seconds is {self.seconds}; it must be 0 or more.")


@dataclass(frozen=True)
class Stored:
    """One pair as it is written.

    Args:
        name: With folders.
        infrared: (H, W): uint8 intensities, or uint16 or float32 of the unit.
        unit: Of an infrared picture of more than 8 bits; None of intensities.
        visible: (H, W) or (H, W, 3), or the file whose bytes are taken as they are.
        suffix: Of the visible picture.
    """

    name: str
    infrared: Pixels
    unit: Unit | None
    visible: Pixels | Path
    suffix: str = ".png"


def stored_pairs(partners: Partners, config: ImportConfig) -> Iterator[Stored]:
    """The pairs of pictures that two files hold.

    Raises:
        UnreadableFileError: If one is damaged, or holds what cannot be stored; what comes before is given.
        MissingLibraryError: If a library is missing.
    """
    if partners.infrared.has_frames:
        yield from _of_frames(partners, config)
    else:
        yield _single(partners, config)


def _single(partners: Partners, config: ImportConfig) -> Stored:
    infrared, visible, name = partners.infrared, partners.visible, partners.name
    photo, unit = None, cast("Unit | None", None)
    if infrared.kind == "flir":
        flir = read_flir(infrared.path, flir_records(infrared.path, jpeg_parts(infrared.path)))
        values, unit, photo = *_temperatures(infrared.path, flir.celsius, config), flir.photo
    elif infrared.kind == "dji":
        values, unit = _temperatures(infrared.path, read_dji(infrared.path), config)
    else:
        pixels = next(tiff_pages(infrared.path)) if infrared.kind == "tiff" else read_image(infrared.path)
        values, unit = _Measured(infrared.path, config)(pixels)
    if infrared is visible:
        return Stored(name, values, unit, np.asarray(photo))
    read_image(visible.path)  # whole: a picture that is cut off is no use
    with open_picture(visible.path) as image:
        return Stored(name, values, unit, visible.path, _ENDINGS[str(image.format)])


def _of_frames(partners: Partners, config: ImportConfig) -> Iterator[Stored]:
    """Each infrared frame with the visible one that is shown nearest to it, up to where the visible ones end."""
    path, measured = partners.infrared.path, _Measured(partners.infrared.path, config)
    shown = _frames(partners.visible)
    before = after = next(shown, None)
    gap = 0.0
    for number, frame in enumerate(_frames(partners.infrared, config.every)):
        while before is not None and after is not None and after.seconds < frame.seconds:
            before, after = after, next(shown, None)
            gap = gap if after is None else after.seconds - before.seconds
        if before is None or (after is None and frame.seconds > before.seconds + gap):
            raise UnreadableFileError(path, f"no visible frame is there from frame {number * config.every} on")
        late = after is not None and after.seconds - frame.seconds < frame.seconds - before.seconds
        values, unit = measured(frame.pixels)
        pixels = _eight_bits(partners.visible.path, (after if late and after else before).pixels)
        yield Stored(f"{partners.name}/{number * config.every:06d}", values, unit, pixels)


def _frames(file: CameraFile, every: int = 1) -> Iterator[VideoFrame]:
    """Frames of a video, or pages, of which one is shown each second."""
    if file.kind == "video":
        return video_frames(file.path, every)
    pages = enumerate(tiff_pages(file.path))
    return (VideoFrame(float(number), pixels) for number, pixels in pages if number % every == 0)


class _Measured:
    """What the infrared pictures of one file measure. A palette is found once: all frames of a video have one."""

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path = path
        self.config = config
        self.palette = ""

    def __call__(self, pixels: Pixels) -> tuple[Pixels, Unit | None]:
        """(H, W) as it is stored, and its unit.

        Args:
            pixels: (H, W) or (H, W, 3) of any type of numbers.
        """
        if pixels.dtype == np.uint8:
            return self._intensities(pixels), None
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim != 2:
            raise UnreadableFileError(self.path, "it is infrared in colours of more than 8 bits; store one channel")
        if not np.isfinite(pixels).all():
            raise UnreadableFileError(self.path, "some of its pixels are no number (NaN or infinity)")
        if self.config.unit in ("celsius", "kelvin"):
            zero = ZERO if self.config.unit == "kelvin" else 0
            return _temperatures(self.path, pixels.astype(np.float64) - zero, self.config)
        plain = _plain_numbers(self.path, pixels)
        if self.config.unit == "counts" or (self.config.store == "centikelvin" and plain.dtype == np.uint16):
            return plain, self.config.unit  # type: ignore[return-value]  # counts or centikelvin
        return _temperatures(self.path, from_centikelvin(plain), self.config)

    def _intensities(self, pixels: Pixels) -> Pixels:
        if self.config.infrared_color != "luma" and is_colourful(pixels):
            self.palette = self.palette or palette_of(self.path, pixels, self.config.infrared_color)
            return intensities(pixels, self.palette)
        return to_infrared(pixels)[0].numpy()


def _plain_numbers(path: Path, pixels: Pixels) -> Pixels:
    """The same numbers as uint16, or as float32 where they do not fit.

    Raises:
        UnreadableFileError: If neither holds them.
    """
    if pixels.dtype.kind in "ui":
        if pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max:
            return pixels.astype(np.uint16)
        if max(abs(int(pixels.min())), abs(int(pixels.max()))) > _EXACT:
            raise UnreadableFileError(path, f"it holds integers up to {pixels.max()}, which 32-bit floats do not hold")
    return pixels.astype(np.float32)


def _temperatures(path: Path, celsius: Pixels, config: ImportConfig) -> tuple[Pixels, Unit]:
    if config.store == "celsius":
        return celsius.astype(np.float32), "celsius"
    try:
        return to_centikelvin(celsius), "centikelvin"
    except ValueError as error:
        raise UnreadableFileError(path, f"{error}: give --store celsius (and --unit, if they are others)") from error


def _eight_bits(path: Path, pixels: Pixels) -> Pixels:
    if pixels.dtype != np.uint8:
        raise UnreadableFileError(path, f"its visible pictures are of {pixels.dtype}; store 8 bits")
    return pixels
