"""How deep infrared values become [0, 1]."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Decoded pixels: (H, W) or (H, W, 3), uint8, uint16 or float32."""


@dataclass(frozen=True)
class ThermalRange:
    """How infrared of more than 8 bits becomes float32 in [0, 1]; 8-bit files are never stretched.

    Args:
        mode: `type` divides by the type's maximum (65535 for 16 bits). `fixed` maps `low..high` to 0..1, the same for
            every image, which keeps temperatures comparable. `minmax` stretches each image on its own. `percentile`
            does so between the `low`-th and `high`-th percentiles and clips what is beyond.
        low: `fixed`: the raw value that becomes 0 (default 0). `percentile`: 0..100 (default 1).
        high: `fixed`: the raw value that becomes 1 (required). `percentile`: 0..100 (default 99).

    Raises:
        ValueError: If the mode is unknown, or the limits do not fit it.
    """

    mode: Literal["type", "fixed", "minmax", "percentile"] = "type"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("type", "fixed", "minmax", "percentile"):
            raise ValueError(f"thermal_range.mode is '{self.mode}'; known: type, fixed, minmax, percentile.")
        if self.mode == "fixed" and self.high is None:
            raise ValueError("thermal_range.mode 'fixed' needs `high`, the raw value that becomes 1.")
        low, high = self.limits
        if low >= high:
            raise ValueError(f"thermal_range: low ({low}) must be below high ({high}).")
        if self.mode == "percentile" and not 0 <= low < high <= 100:
            raise ValueError(f"thermal_range: percentiles must lie in 0..100, not {low} and {high}.")

    @property
    def limits(self) -> tuple[float, float]:
        """`low` and `high` with the defaults of the mode filled in."""
        default_low, default_high = (1.0, 99.0) if self.mode == "percentile" else (0.0, 1.0)
        return (
            default_low if self.low is None else float(self.low),
            default_high if self.high is None else float(self.high),
        )

    def apply(self, raw: Pixels) -> NDArray[np.float32]:
        """Scales raw values.

        Args:
            raw: (H, W), uint16 or float.

        Returns:
            (H, W) float32 in [0, 1]; a constant image under `minmax` or `percentile` gives zeros.

        Raises:
            ValueError: If `mode` is `type` and `raw` holds floats outside [0, 1], whose range nobody can know.
        """
        if self.mode == "type":
            return divide_by_type_maximum(raw)
        low, high = self.limits
        if self.mode == "minmax":
            low, high = float(raw.min()), float(raw.max())
        elif self.mode == "percentile":
            low, high = (float(value) for value in np.percentile(raw, (low, high)))
        scaled = raw.astype(np.float32)
        scaled -= np.float32(low)
        scaled /= np.float32(max(high - low, 1e-6))
        return np.clip(scaled, 0.0, 1.0, out=scaled)


DEFAULT_THERMAL_RANGE: Final = ThermalRange()


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
            f"to fixed (with low and high), minmax or percentile, or store integers"
        )
    return raw.astype(np.float32)
