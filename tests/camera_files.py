"""The smallest valid files of thermal cameras, made by hand."""

import io
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from tests.hostile.images import png, unfiltered

Pixels = NDArray[Any]

SIZE: Final = (12, 16)
"""Height and width of thermal pictures."""

PLANCK: Final[Mapping[str, float]] = {
    "emissivity": 1.0, "distance": 0.0, "reflected": 293.15, "air": 293.15, "window": 293.15, "transmission": 1.0,
    "humidity": 0.5, "r1": 17096.453, "b": 1428.0, "f": 1.0, "o": -342, "r2": 0.046642166,
}  # fmt: skip
"""Constants of a FLIR camera that sees a black body through nothing, so that Planck's formula alone counts."""


def raw_of(celsius: Pixels) -> NDArray[np.uint16]:
    """What that camera's sensor counts, by Planck's formula turned round."""
    kelvin = celsius.astype(np.float64) + 273.15
    radiance = PLANCK["r1"] / (PLANCK["r2"] * (np.exp(PLANCK["b"] / kelvin) - PLANCK["f"]))
    return np.rint(radiance - PLANCK["o"]).astype(np.uint16)


def warm_scene(seed: int = 0, size: tuple[int, int] = SIZE) -> Pixels:
    """(H, W) degrees Celsius: a cool ground with a warm body."""
    height, width = size
    celsius = np.random.default_rng(seed).normal(12, 0.5, size)
    celsius[height // 3 : height // 2, width // 4 : width // 2] = 31.5
    return celsius


def photo(seed: int = 0, size: tuple[int, int] = (48, 64)) -> Image.Image:
    """A photograph in colours that are of no palette."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """The bytes of a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def with_parts(data: bytes, *parts: tuple[int, bytes]) -> bytes:
    """A JPEG with more parts at its beginning."""
    inside = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content for marker, content in parts
    )
    return data[:2] + inside + data[2:]


def exif(time: str = "", place: tuple[float, float] | None = None, make: str = "", part: str = "") -> Image.Exif:
    """Time (2026:05:01 10:00:00), its hundredths, latitude and longitude in degrees, and the camera's maker."""
    noted = Image.Exif()
    if make:
        noted[Base.Make] = make
    inner = noted.get_ifd(IFD.Exif)
    if time:
        inner[Base.DateTimeOriginal] = time
    if part:
        inner[Base.SubsecTimeOriginal] = part
    if place is not None:
        gps = noted.get_ifd(IFD.GPSInfo)
        for value, sides, reference, tag in (
            (place[0], "NS", GPS.GPSLatitudeRef, GPS.GPSLatitude),
            (place[1], "EW", GPS.GPSLongitudeRef, GPS.GPSLongitude),
        ):
            gps[reference], gps[tag] = sides[value < 0], (abs(value), 0.0, 0.0)
    return noted


def flir_jpeg(
    celsius: Pixels,
    visible: Image.Image | None = None,
    ratio: float = 0.0,
    offset: tuple[int, int] = (0, 0),
    as_png: bool = False,
    records: Mapping[int, bytes] | None = None,
    **noted: Any,
) -> bytes:
    """A radiometric JPEG.

    Args:
        celsius: What it measures.
        visible: Its photograph.
        ratio: How much more the photograph shows; 0 says nothing.
        offset: By how many pixels of the photograph the thermal picture lies right and down of the middle.
        as_png: Whether raw values are stored as PNG.
        records: Others in place of these.
        noted: EXIF.
    """
    raw, (height, width) = raw_of(celsius), celsius.shape
    values = png((height, width), unfiltered(raw.astype("<u2")), 16) if as_png else raw.astype("<u2").tobytes()
    found = {1: struct.pack("<3H26x", 2, width, height) + values, 32: _camera()}
    if visible is not None:
        found[14] = struct.pack("<3H26x", 4, visible.width, visible.height) + jpeg(visible)
    if ratio:
        found[42] = struct.pack("<f6h", ratio, *offset, 0, width - 1, 0, height - 1)
    rendered = Image.fromarray(np.interp(celsius, (celsius.min(), celsius.max()), (0, 255)).astype(np.uint8))
    data = jpeg(rendered.convert("RGB"), exif=exif(make="FLIR Systems AB", **noted))
    return with_parts(data, *_in_parts(flir_file(found if records is None else records)))


def flir_file(records: Mapping[int, bytes]) -> bytes:
    """The records behind one another, with their directory before them."""
    start = 64 + 32 * len(records)
    directory, contents = b"", b""
    for kind, content in records.items():
        directory += struct.pack(">2H5I8x", kind, 1, 100, 1, start + len(contents), len(content), 0)
        contents += content
    header = struct.pack(">4s16s4I28x", b"FFF\0", b"IVIF", 100, 64, len(records), 2)
    return header + directory + contents


def _camera() -> bytes:
    """The record of the camera's constants."""
    record = bytearray(900)
    known = PLANCK
    for place, value in (
        (32, known["emissivity"]), (36, known["distance"]), (40, known["reflected"]), (44, known["air"]),
        (48, known["window"]), (52, known["transmission"]), (60, known["humidity"]), (88, known["r1"]),
        (92, known["b"]), (96, known["f"]), (780, known["r2"]),
    ):  # fmt: skip
        struct.pack_into("<f", record, place, value)
    struct.pack_into("<i", record, 776, int(known["o"]))
    return bytes(record)


def _in_parts(data: bytes, longest: int = 1 << 15) -> list[tuple[int, bytes]]:
    """Data in APP1 parts of a JPEG."""
    pieces = [data[start : start + longest] for start in range(0, len(data), longest)]
    return [(0xE1, b"FLIR\0\1" + bytes((number, len(pieces) - 1)) + piece) for number, piece in enumerate(pieces)]


def dji_jpeg(**noted: Any) -> bytes:
    """What tells an R-JPEG: the maker, and raw values in APP3 parts."""
    return with_parts(jpeg(photo(9, (12, 16)), exif=exif(make="DJI", **noted)), (0xE3, bytes(64)))


def with_dji_library(monkeypatch: pytest.MonkeyPatch, celsius: Mapping[str, Pixels]) -> None:
    """A module with the signature of dji-thermal-cli 1.4: `measure(path, settings, unit).temperature`."""

    def measure(path: Path, settings: Any = None, unit: str = "C") -> SimpleNamespace:
        assert unit == "C"
        if path.name not in celsius:
            raise ValueError("no DJI thermal data found (not an R-JPEG)")
        return SimpleNamespace(temperature=celsius[path.name].astype(np.float32), unit=unit)

    module = ModuleType("dji_thermal_cli")
    module.__spec__ = SimpleNamespace()  # type: ignore[assignment]  # what find_spec looks for
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dji_thermal_cli", module)
