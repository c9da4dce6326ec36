"""DJI's R-JPEG: temperatures by dji-thermal-cli, which is written in Python alone."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import needed

_LIBRARY: Final = "dji_thermal_cli"
_OLDEST: Final = (3, 12)
_NOTHING: Final = -273.15
"""What the library puts where nothing was measured."""


def read_dji(path: Path) -> NDArray[np.float32]:
    """(H, W): degrees Celsius, with the settings that the camera noted in the file.

    Raises:
        UnreadableFileError: If the file holds no temperatures, or not of every pixel.
        MissingLibraryError: If dji-thermal-cli is not installed.
    """
    newer = sys.version_info[:2] >= _OLDEST
    remedy = "pip install dji-thermal-cli" if newer else "pip install dji-thermal-cli, with Python 3.12 or newer"
    needed(_LIBRARY, "DJI's R-JPEG", f"{remedy} (its licence is the AGPL-3.0)")
    try:
        celsius = np.asarray(import_module(_LIBRARY).measure(path, unit="C").temperature, dtype=np.float32)
    except Exception as error:  # the library's own, and whatever damage brings it to
        raise UnreadableFileError(path, f"dji-thermal-cli: {str(error).rstrip('.') or type(error).__name__}") from error
    if celsius.ndim != 2 or not np.isfinite(celsius).all() or celsius.min() <= np.float32(_NOTHING):
        raise UnreadableFileError(path, "some of its pixels have no temperature")
    return celsius
