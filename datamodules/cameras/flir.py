"""FLIR's radiometric JPEG: temperatures and, in most files, the photograph that belongs to them.

The records lie in APP1 parts of the JPEG, one after the other (https://exiftool.org/TagNames/FLIR.html). flyr knows the
camera's constants and turns raw values into temperatures; pictures inside the records go through our own door, because
PIL takes them for anything.
"""

import io
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ivif.datamodules.cameras.jpeg_parts import APP1
from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import needed
from ivif.files.pictures import MAX_PIXELS, open_picture

_TAG: Final = b"FLIR\0"
_MOST_RECORDS: Final = 256
_HEADER: Final = 64
_ENTRY: Final = 32

_RAW, _PHOTO, _CAMERA, _PLACING = 1, 14, 32, 42
"""Kinds of records."""

_CONTENT: Final = 32
"""Bytes of a picture's record before the picture."""

_DAMAGED: Final = "its thermal records are damaged"


@dataclass(frozen=True)
class FlirPicture:
    """What a radiometric JPEG holds.

    Args:
        celsius: (H, W) float32.
        photo: The photograph, cut to what the thermal picture shows where the file says so; None where there is none.
    """

    celsius: NDArray[np.float32]
    photo: Image.Image | None


def flir_records(path: Path, parts: Iterable[tuple[int, bytes]]) -> dict[int, bytes]:
    """The records in a JPEG's parts by their kinds; none in any other JPEG.

    Raises:
        UnreadableFileError: If the records are damaged.
    """
    found: dict[int, bytes] = {}
    last = -1
    for marker, content in parts:
        if marker == APP1 and content.startswith(_TAG) and len(content) > len(_TAG) + 3:
            number, last = content[len(_TAG) + 1], content[len(_TAG) + 2]
            if number in found:
                raise UnreadableFileError(path, f"{_DAMAGED} (a part comes twice)")
            found[number] = content[len(_TAG) + 3 :]
    if not found:
        return {}
    if sorted(found) != list(range(last + 1)):
        raise UnreadableFileError(path, f"{_DAMAGED} (a part is missing)")
    return _directory(path, b"".join(found[number] for number in sorted(found)))


def has_photo(records: Mapping[int, bytes]) -> bool:
    """Whether a photograph lies among the records."""
    return _PHOTO in records


def has_temperatures(records: Mapping[int, bytes]) -> bool:
    """Whether raw values and the constants of the camera lie among the records."""
    return _RAW in records and _CAMERA in records


def read_flir(path: Path, records: Mapping[int, bytes], max_pixels: int = MAX_PIXELS) -> FlirPicture:
    """Temperatures and photograph of a file whose records were read.

    Raises:
        UnreadableFileError: If they are damaged or too large.
        MissingLibraryError: If flyr is not installed.
    """
    celsius = _celsius(path, _raw_values(path, records[_RAW], max_pixels), records[_CAMERA])
    if not has_photo(records):
        return FlirPicture(celsius, None)
    with open_picture(path, records[_PHOTO][_CONTENT:], max_pixels) as image:
        photo = image.convert("RGB")
    return FlirPicture(celsius, _cut(photo, celsius.shape, records.get(_PLACING)))


def _directory(path: Path, data: bytes) -> dict[int, bytes]:
    """The records that the directory lists."""
    for order in (">", "<"):
        if data[:4] != b"FFF\0" or len(data) < _HEADER:
            break
        version, start, count = struct.unpack_from(f"{order}3I", data, 20)
        if not 100 <= version < 200 or count > _MOST_RECORDS or start + count * _ENTRY > len(data):
            continue
        entries = (struct.unpack_from(f"{order}H10x2I", data, start + number * _ENTRY) for number in range(count))
        return {kind: data[place : place + length] for kind, place, length in entries if kind}
    raise UnreadableFileError(path, _DAMAGED)


def _raw_values(path: Path, record: bytes, max_pixels: int) -> NDArray[np.uint16]:
    """(H, W): what the sensor counted. A PNG has the bytes of each value the other way round."""
    if len(record) < _CONTENT:
        raise UnreadableFileError(path, _DAMAGED)
    order = "<" if record[:2] == b"\2\0" else ">"
    width, height = struct.unpack_from(f"{order}2H", record, 2)
    content = record[_CONTENT:]
    if content.startswith(b"\x89PNG"):
        with open_picture(path, content, max_pixels) as image:
            values = np.array(image).astype(np.uint16).byteswap()
    elif 0 < 2 * width * height <= len(content):
        values = np.frombuffer(content, f"{order}u2", width * height).reshape(height, width).astype(np.uint16)
    else:
        raise UnreadableFileError(path, f"{_DAMAGED} (of {width}x{height} values some are missing)")
    if values.shape != (height, width):
        raise UnreadableFileError(path, f"{_DAMAGED} (they announce {width}x{height} values and hold others)")
    return values


def _celsius(path: Path, raw: NDArray[np.uint16], camera: bytes) -> NDArray[np.float32]:
    needed("flyr", "FLIR's radiometric JPEG")
    from flyr import FlyrThermogram
    from flyr.thermal import parse_camera_info

    try:
        with np.errstate(all="ignore"):  # constants that are damaged give no numbers, which is looked at below
            thermogram = FlyrThermogram(raw, parse_camera_info(io.BytesIO(camera), (0, _CAMERA, 0, len(camera))))
            celsius: NDArray[np.float32] = np.asarray(thermogram.celsius, dtype=np.float32)
    except Exception as error:  # of any kind: a division by zero, an overflow, a missing byte
        raise UnreadableFileError(path, f"{_DAMAGED} (the camera's constants: {error})") from error
    if not np.isfinite(celsius).all():
        raise UnreadableFileError(path, f"{_DAMAGED} (with the camera's constants some values are no temperature)")
    return celsius


def _cut(photo: Image.Image, shape: tuple[int, ...], placing: bytes | None) -> Image.Image:
    """The part of a photograph that the thermal picture shows; the whole where the file does not say a likely one.

    The lens of the photograph sees `ratio` times as much; the thermal picture lies in its middle, moved by an offset in
    pixels of the photograph.
    """
    if placing is None or len(placing) < 8:
        return photo
    ratio, right, down = struct.unpack_from("<fhh", placing)
    if not 1 <= ratio <= 10:
        return photo
    width = photo.width / ratio
    height = width * shape[0] / shape[1]
    left, top = (photo.width - width) / 2 + right, (photo.height - height) / 2 + down
    edges: Any = (round(left), round(top), round(left + width), round(top + height))
    inside = edges[0] >= 0 and edges[1] >= 0 and edges[2] <= photo.width and edges[3] <= photo.height
    return photo.crop(edges) if inside else photo
