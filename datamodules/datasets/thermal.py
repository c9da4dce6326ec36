"""How deep infrared values become [0, 1]."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Decoded pixels: (H, W) or (H, W, 3), uint8, uint16 or float32."""

_PERCENTILES: Final = ("auto", "percentile")
_STEP: Final = 4
"""Every fourth row and column is looked at."""

RangeMode = Literal["auto", "type", "fixed", "minmax", "percentile"]


@dataclass(frozen=True)
class ThermalRange:
    """How infrared of more than 8 bits becomes float32 in [0, 1]; 8-bit files are never stretched.

    Args:
        mode: `auto` maps what lies between two percentiles of a whole dataset to 0..1, the same for each of its
            pictures; of a picture alone its own; floats in [0, 1] stay. `type` divides by the type's maximum (65535 for
            16 bits). `fixed` maps `low..high` to 0..1, the same for every image, which keeps temperatures comparable.
            `minmax` stretches each image on its own. `percentile` does so between the `low`-th and `high`-th
            percentiles and clips what is beyond.
        low: `fixed`: the value that becomes 0 (default 0), of temperatures in degrees Celsius. `auto`, `percentile`:
            0..100 (default 1).
        high: `fixed`: the value that becomes 1 (required). `auto`, `percentile`: 0..100 (default 99).

    Raises:
        ValueError: If the mode is unknown, or the limits do not fit it.
    """

    mode: RangeMode = "auto"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(RangeMode):
            raise ValueError(f"thermal_range.mode is '{self.mode}'; known: {', '.join(get_args(RangeMode))}.")
        if self.mode == "fixed" and self.high is None:
            raise ValueError("thermal_range.mode 'fixed' needs `high`, the value that becomes 1.")
        low, high = self.limits
        if low >= high:
            raise ValueError(f"thermal_range: low ({low}) must be below high ({high}).")
        if self.mode in _PERCENTILES and not 0 <= low < high <= 100:
            raise ValueError(f"thermal_range: percentiles must lie in 0..100, not {low} and {high}.")

    @property
    def limits(self) -> tuple[float, float]:
        """`low` and `high` with the defaults of the mode filled in."""
        default_low, default_high = (1.0, 99.0) if self.mode in _PERCENTILES else (0.0, 1.0)
        return (
            default_low if self.low is None else float(self.low),
            default_high if self.high is None else float(self.high),
        )

    def apply(self, raw: Pixels) -> NDArray[np.float32]:
        """Scales raw values.

        Args:
            raw: (H, W), uint16 or float.

        Returns:
            (H, W) float32 in [0, 1]; a constant image under `auto`, `minmax` or `percentile` gives zeros.

        Raises:
            ValueError: If `mode` is `type` and `raw` holds floats outside [0, 1], whose range nobody can know.
        """
        if self.mode == "type" or (self.mode == "auto" and _is_scaled(raw)):
            return divide_by_type_maximum(raw)
        low, high = self.limits
        if self.mode == "minmax":
            low, high = float(raw.min()), float(raw.max())
        elif self.mode in _PERCENTILES:
            low, high = (float(value) for value in np.percentile(raw, (low, high)))
        return stretched(raw, low, high)

    def measured(self, pictures: Iterable[Pixels]) -> "ThermalRange":
        """What `auto` means for pictures that belong together, such as those of a dataset or the frames of a video.

        Args:
            pictures: All of them or some, (H, W).

        Returns:
            The fixed range between their percentiles; `type` where none has more than 8 bits, or all are floats in
            [0, 1].
        """
        deep = [picture[::_STEP, ::_STEP].ravel() for picture in pictures if picture.dtype != np.uint8]
        if not deep or all(_is_scaled(values) for values in deep):
            return ThermalRange("type")
        low, high = (float(f"{value:.6g}") for value in np.percentile(np.concatenate(deep), self.limits))
        return ThermalRange("fixed", low, high if high > low else low + 1)


DEFAULT_THERMAL_RANGE: Final = ThermalRange()
BY_TYPE: Final = ThermalRange("type")
"""Of what was stored by ourselves: nothing is stretched."""


def stretched(raw: Pixels, low: float, high: float) -> NDArray[np.float32]:
    """Values of which `low` becomes 0 and `high` 1, clipped; zeros where both are one."""
    scaled = raw.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _is_scaled(raw: Pixels) -> bool:
    """Whether values are floats in [0, 1], which everybody takes for what they are."""
    return raw.dtype.kind == "f" and float(raw.min()) >= 0 and float(raw.max()) <= 1


def divide_by_type_maximum(raw: Pixels) -> NDArray[np.float32]:
    """Integers divided by the largest value of their type; floats in [0, 1] pass.

    Raises:
        ValueError: If `raw` holds floats outside [0, 1].
    """
    if raw.dtype.kind != "f":
        scaled = raw.astype(np.float32)
        scaled /= np.float32(np.iinfo(raw.dtype).max)
        return scaled
    low, high = float(raw.min()), float(raw.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"it holds floating-point values from {low:g} to {high:g}, whose range nobody can know: set thermal_range "
            f"to auto, fixed (with low and high), minmax or percentile, or store integers"
        )
    return raw.astype(np.float32)
