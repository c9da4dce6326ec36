"""When and where a picture was taken, and by which camera."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from PIL.ExifTags import GPS, IFD, Base

from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import open_picture

_EARTH: Final = 6_371_000.0
"""Radius in metres."""


@dataclass(frozen=True)
class Taken:
    """When and where a picture was taken, as far as its EXIF says.

    Args:
        seconds: Local time of the camera, as seconds since 1970.
        place: Latitude and longitude, in radians.
        make: The maker of the camera, in lower case.
    """

    seconds: float | None = None
    place: tuple[float, float] | None = None
    make: str = ""


def taken(path: Path) -> Taken:
    """What the EXIF of a picture says; nothing where it has none, or a damaged one: the pixels may be whole."""
    try:
        with open_picture(path) as image:
            exif = image.getexif()
            return Taken(_seconds(exif), _place(exif.get_ifd(IFD.GPSInfo)), str(exif.get(Base.Make, "")).lower())
    except (UnreadableFileError, TypeError, ValueError, ArithmeticError):
        return Taken()


def metres(first: tuple[float, float], second: tuple[float, float]) -> float:
    """How far two places, which are near each other, lie apart."""
    north = first[0] - second[0]
    east = (first[1] - second[1]) * math.cos((first[0] + second[0]) / 2)
    return _EARTH * math.hypot(north, east)


def _seconds(exif: Any) -> float | None:
    inner = exif.get_ifd(IFD.Exif)
    text = inner.get(Base.DateTimeOriginal) or exif.get(Base.DateTime)
    if not text:
        return None
    try:
        moment = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        part = str(inner.get(Base.SubsecTimeOriginal) or "").strip("\0 ")
        return (moment - datetime(1970, 1, 1)).total_seconds() + (float(f"0.{part}") if part.isdecimal() else 0)
    except ValueError:
        return None


def _place(gps: Any) -> tuple[float, float] | None:
    values = []
    for value, side, negative in (
        (gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "S"),
        (gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "W"),
    ):
        if value is None or len(value) != 3:
            return None
        degrees = float(value[0]) + float(value[1]) / 60 + float(value[2]) / 3600
        if not math.isfinite(degrees):
            return None
        values.append(math.radians(-degrees if side == negative else degrees))
    return values[0], values[1]
