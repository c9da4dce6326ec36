"""What a file of a camera is, by its content: its ending may say anything."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from ivif.datamodules.cameras.exif import Taken, taken
from ivif.datamodules.cameras.flir import flir_records, has_photo, has_temperatures
from ivif.datamodules.cameras.jpeg_parts import APP3, JPEG_BEGIN, jpeg_parts
from ivif.datamodules.cameras.tiffs import TIFF_BEGINS, describe_tiff
from ivif.datamodules.cameras.videos import container_of, is_deep_video
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES, image_header, is_colourful
from ivif.datamodules.datasets.pairs.names import Modality, Picture, modality_of
from ivif.datamodules.datasets.palettes import find_palette
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import file_status, open_picture, reason

Kind = Literal["flir", "dji", "picture", "tiff", "video"]

NO_PICTURE: Final = "no picture or video"

_HEAD: Final = 64
_RAW: Final = {
    ".seq": "export it as radiometric JPEG, or as 16-bit TIFF, in FLIR Thermal Studio or Research Studio",
    ".csq": "export it as radiometric JPEG, or as 16-bit TIFF, in FLIR Thermal Studio or Research Studio",
    ".fff": "export it as radiometric JPEG, or as 16-bit TIFF, in FLIR Thermal Studio or Research Studio",
    ".ats": "export it as 16-bit TIFF in FLIR Research Studio",
    ".sfmov": "export it as 16-bit TIFF in FLIR Research Studio",
    ".ptw": "export it as 16-bit TIFF in FLIR Research Studio",
    ".irb": "export it as 16-bit TIFF in InfraTec's IRBIS",
    ".is2": "export it as TIFF in Fluke's SmartView or Connect",
    ".raw": "it does not say its size or unit: write it as 16-bit TIFF, with tifffile.imwrite for instance",
}
"""Endings of recordings that are not read, and what to do about each."""

_UNTOLD: Final = "neither its name nor its pixels say whether it is infrared or visible: call it NAME_ir or NAME_vis"

_THUMBNAIL: Final = 8
_SAMPLE: Final = 512
"""Pixels of a side up to which a picture is looked at for its palette."""


@dataclass(frozen=True)
class CameraFile:
    """A file that can be imported.

    Args:
        picture: Where it is.
        kind: Radiometric JPEG of FLIR or DJI, a picture that our own door reads, a TIFF of more bits or pages, a video.
        modality: What it shows.
        taken: When and where.
        holds_both: Whether a file of infrared holds the visible picture too.
        has_frames: Whether it holds many pictures.
    """

    picture: Picture
    kind: Kind
    modality: Modality
    taken: Taken
    holds_both: bool = False
    has_frames: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.picture.path


def recognise(picture: Picture) -> CameraFile:
    """What a file is.

    Raises:
        UnreadableFileError: If it cannot be imported; the reason says what to do.
        MissingLibraryError: If a library is missing to tell.
    """
    path = picture.path
    file_status(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise UnreadableFileError(path, reason(error)) from error
    named = modality_of(picture.folders, path.stem)
    if head.startswith(b"FFF\0") or path.suffix.lower() in _RAW:
        raise UnreadableFileError(
            path, f"recordings of this kind are not read: {_RAW.get(path.suffix.lower(), _RAW['.fff'])}"
        )
    if head.startswith(JPEG_BEGIN):
        return _jpeg(picture, named)
    if head.startswith(TIFF_BEGINS):
        return _tiff(picture, named)
    if container_of(head):
        deep = is_deep_video(path)  # also where the name says it: what is no video is told here
        return CameraFile(picture, "video", named or _of_depth(path, deep), Taken(), has_frames=True)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UnreadableFileError(path, NO_PICTURE)
    return CameraFile(picture, "picture", named or _seen(path), taken(path))


def _jpeg(picture: Picture, named: Modality | None) -> CameraFile:
    path = picture.path
    parts = list(jpeg_parts(path))
    records, when = flir_records(path, parts), taken(path)
    if has_temperatures(records):
        return CameraFile(picture, "flir", "infrared", when, has_photo(records))
    if records or (when.make.startswith("flir") and named != "visible"):
        raise UnreadableFileError(
            path,
            "it is a picture that a FLIR camera has drawn, without temperatures: MSX and other overlays draw edges of "
            "the visible picture into it. Store radiometric JPEG with the camera",
        )
    if when.make.startswith("dji") and Counter(marker for marker, _ in parts)[APP3]:
        return CameraFile(picture, "dji", "infrared", when)
    return CameraFile(picture, "picture", named or _seen(path), when)


def _tiff(picture: Picture, named: Modality | None) -> CameraFile:
    path = picture.path
    bits, channels, several = describe_tiff(path)
    if several or (bits > 8 and channels == 1):
        modality = named or _of_depth(path, bits > 8 and channels == 1)
        return CameraFile(picture, "tiff", modality, taken(path), has_frames=several)
    return CameraFile(picture, "picture", named or _seen(path), taken(path))


def _of_depth(path: Path, deep: bool) -> Modality:
    if not deep:
        raise UnreadableFileError(path, _UNTOLD)
    return "infrared"


def _seen(path: Path) -> Modality:
    """What the pixels of a picture say: deep grey and the colours of a known palette are infrared, others visible.

    Raises:
        UnreadableFileError: If it is no picture, or is grey.
    """
    if image_header(path).deep:
        return "infrared"
    with open_picture(path) as image:
        image.draft("RGB", (image.width // _THUMBNAIL, image.height // _THUMBNAIL))
        step = max(1, max(image.size) // _SAMPLE)
        pixels = np.asarray(image.convert("RGB"))[::step, ::step]
    if not is_colourful(pixels):
        raise UnreadableFileError(path, _UNTOLD)
    return "infrared" if find_palette(pixels) else "visible"
