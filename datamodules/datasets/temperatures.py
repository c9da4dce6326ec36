"""Temperatures in picture files: which unit their numbers are of is said by a file beside them."""

import json
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.inside import OutsideFileError, read_inside

Unit = Literal["celsius", "centikelvin", "counts"]
"""Degrees Celsius; hundredths of a kelvin (0 to 65535: -273.15 to 382.2 degrees); what a sensor counts."""

SIDECAR: Final = "thermal.json"
"""Beside infrared pictures: `{"unit": "centikelvin"}` is said of all of them that have more than 8 bits."""

ZERO: Final = 273.15
"""Of the Celsius scale, in kelvin."""

_LARGEST: Final = 1 << 20
_units: dict[str, tuple[tuple[int, int], Unit]] = {}


def unit_of(path: Path) -> Unit:
    """The unit of an infrared picture of more than 8 bits: what the file beside it says, else `counts`.

    Raises:
        UnreadableFileError: If that file is damaged or says another unit.
    """
    sidecar = path.with_name(SIDECAR)
    try:
        status = sidecar.stat()
    except OSError:
        return "counts"
    state = (status.st_size, status.st_mtime_ns)
    known = _units.get(str(sidecar))
    if known is None or known[0] != state:
        known = _units[str(sidecar)] = (state, _read(sidecar))
    return known[1]


def sidecar_text(unit: Unit) -> str:
    """What the file says that stands beside pictures of a unit."""
    return json.dumps({"unit": unit}) + "\n"


def as_celsius(path: Path, pixels: Pixels) -> Pixels:
    """The pixels of an infrared file as degrees Celsius, float32, where they are temperatures; all others as they are.

    Args:
        path: The file.
        pixels: What was decoded of it.

    Raises:
        UnreadableFileError: If what stands beside it cannot be read.
    """
    if pixels.dtype == np.uint8 or pixels.ndim != 2 or unit_of(path) != "centikelvin":
        return pixels
    return from_centikelvin(pixels)


def from_centikelvin(values: Pixels) -> NDArray[np.float32]:
    """Hundredths of a kelvin as degrees Celsius."""
    celsius: NDArray[np.float32] = (values / 100 - ZERO).astype(np.float32)
    return celsius


def to_centikelvin(celsius: Pixels) -> NDArray[np.uint16]:
    """Degrees Celsius as hundredths of a kelvin.

    Raises:
        ValueError: If 16 bits do not hold them.
    """
    values = np.rint((celsius.astype(np.float64) + ZERO) * 100)
    if not (values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max):
        raise ValueError(
            f"it holds {celsius.min():g} to {celsius.max():g} degrees Celsius; centikelvin goes from -273.15 to 382.2"
        )
    return values.astype(np.uint16)


def _read(sidecar: Path) -> Unit:
    try:
        content = json.loads(read_inside(sidecar, sidecar.parent, _LARGEST))
        unit: Unit = content["unit"]
    except (OSError, OutsideFileError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise _refused(sidecar, f"it is no JSON object with a unit ({error!r})") from error
    if unit not in get_args(Unit):
        raise _refused(sidecar, f"its unit is {unit!r}; known: {', '.join(get_args(Unit))}")
    return unit


def _refused(sidecar: Path, why: str) -> UnreadableFileError:
    return UnreadableFileError(sidecar, why, "Correct it, or remove it where the pictures beside it are plain ones.")
