"""Palettes of thermal cameras: which one a picture in false colours has, and the intensities that it stands for."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ivif.datamodules.datasets.thermal import Pixels

Colours = NDArray[np.uint8]

_MATPLOTLIB: Final = (
    "inferno", "magma", "plasma", "viridis", "cividis", "turbo", "jet", "rainbow", "hot", "gist_heat", "copper",
    "CMRmap", "gnuplot2", "cool",
)  # fmt: skip

_CAMERAS: Final = {
    "iron": "000000 20008c a8009e e0432c f8a000 ffe46a ffffff",
    "camera rainbow": "000080 0000ff 00c8ff 00d000 ffff00 ff8000 ff0000",
    "arctic": "000a8c 0064ff 00dcff 808080 c88200 ffc800 ffffc8",
    "lava": "000000 003c82 6e1eaa c80050 ff5000 ffb400 ffffff",
    "glowbow": "000000 5a0000 b41e00 f06400 ffb400 fff05a ffffff",
    "medical": "000000 8200a0 1e1edc 00a0dc 00c83c e6e600 ff8c00 ff0000 ffffff",
}
"""Usual palettes of cameras, cold to hot, in equal steps; each maker's own table differs a little."""

_SAMPLE: Final = 4096
"""Pixels of a picture that are compared with the palettes."""

_NEAR: Final = 14.0
_SHARE: Final = 0.35
"""Mean distance to a palette up to which it is the picture's, in levels of RGB, and as a share of how far the channels
lie apart: room for JPEG's errors and makers' differences, but not for dark photographs, near every palette's dark end.
"""

_AT_ONCE: Final = 8192
"""Colours that are compared with a palette at a time."""


def palette_names() -> tuple[str, ...]:
    """The palettes that are known."""
    return (*_CAMERAS, *_MATPLOTLIB)


@cache
def palette_colours(name: str) -> Colours:
    """(256, 3): the colours of a palette, from cold to hot."""
    if name not in _CAMERAS:
        from matplotlib import colormaps  # takes long to import, and few have such pictures

        table: Colours = np.rint(colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
        return table
    stops = np.array([list(bytes.fromhex(stop)) for stop in _CAMERAS[name].split()], dtype=np.float64)
    places = np.linspace(0, 255, len(stops))
    return np.rint([np.interp(np.arange(256), places, channel) for channel in stops.T]).T.astype(np.uint8)


def find_palette(pixels: Pixels) -> str | None:
    """The known palette that a picture's colours come from, or None.

    Args:
        pixels: (H, W, 3) uint8.
    """
    flat = pixels.reshape(-1, 3)
    sample = flat[:: max(1, len(flat) // _SAMPLE)]
    means = {name: float(_nearest(sample, palette_colours(name))[1].mean()) for name in palette_names()}
    best = min(means, key=means.__getitem__)
    return best if means[best] <= min(_NEAR, _SHARE * float(np.ptp(sample, axis=-1).mean())) else None


def intensities(pixels: Pixels, palette: str) -> Colours:
    """(H, W) uint8: the place in a palette, 0 cold to 255 hot, that is nearest to each pixel's colour.

    Args:
        pixels: (H, W, 3) uint8.
        palette: One of `palette_names`.
    """
    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    found, where = np.unique(packed, return_inverse=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1)
    places = _middles(palette)[_nearest(colours, palette_colours(palette))[0]]
    return places[where].reshape(pixels.shape[:2])


@cache
def _middles(name: str) -> Colours:
    """For each place of a palette the middle one of those that have its colour: jet has some several times."""
    _, same, count = np.unique(palette_colours(name), axis=0, return_inverse=True, return_counts=True)
    same = same.reshape(-1)
    return np.rint(np.bincount(same, weights=np.arange(256)) / count).astype(np.uint8)[same]


def _nearest(colours: NDArray[np.integer], palette: Colours) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each of (N, 3) colours the index of the nearest of a palette's, and the distance to it."""
    table = palette.astype(np.float32)
    square = np.square(table).sum(axis=1)
    places, distances = [], []
    for start in range(0, len(colours), _AT_ONCE):
        part = colours[start : start + _AT_ONCE].astype(np.float32)
        apart = square - 2 * part @ table.T
        place = apart.argmin(axis=1)
        places.append(place)
        distances.append(np.sqrt(np.maximum(apart[np.arange(len(part)), place] + np.square(part).sum(axis=1), 0)))
    return np.concatenate(places), np.concatenate(distances)
