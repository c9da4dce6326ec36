"""How infrared of more than 8 bits becomes [0, 1] where a picture is seen in parts only: what the whole would give.

Of integers a histogram says all that a range is taken from. Of floats it is the smallest and largest value, so that
their percentiles are not known.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from ivif.datamodules.datasets.thermal import Pixels, ThermalRange, divide_by_type_maximum, stretched
from ivif.files.errors import UserError

Scaling = Callable[[Pixels], NDArray[np.float32]]


def scaling_of(parts: Iterable[Pixels], thermal_range: ThermalRange, unit: Callable[[Pixels], Pixels]) -> Scaling:
    """What `ThermalRange.apply` does to a whole picture, as a function of its parts.

    Args:
        parts: All of the picture, once: uint16 or float32. Not looked at where the range does not depend on it.
        thermal_range: How it is scaled.
        unit: What raw values are, such as degrees Celsius; grows with them.

    Returns:
        Of a raw part what is its part of the scaled whole, bit for bit.

    Raises:
        ValueError: As `ThermalRange.apply`.
        UserError: If a range between percentiles is to be found of floats.
    """
    if thermal_range.mode == "fixed":
        return lambda raw: stretched(unit(raw), *thermal_range.limits)
    values, counts = _counted(parts)
    known = unit(values)
    ends = known[[0, -1]]
    scaled = known.dtype.kind == "f" and ends[0] >= 0 and ends[1] <= 1
    if thermal_range.mode == "type" or (thermal_range.mode == "auto" and scaled):
        divide_by_type_maximum(ends)  # refuses what the whole would be refused for
        return lambda raw: divide_by_type_maximum(unit(raw))
    if thermal_range.mode == "minmax":
        low, high = float(ends[0]), float(ends[1])
    elif counts is None:
        raise UserError(
            "infrared holds floating-point values, whose percentiles are not known of parts: give --thermal_range "
            "fixed with --low and --high, or minmax."
        )
    else:
        low, high = (_percentile(known, counts, of) for of in thermal_range.limits)
    return lambda raw: stretched(unit(raw), low, high)


def _counted(parts: Iterable[Pixels]) -> tuple[Pixels, NDArray[np.int64] | None]:
    """The values of a picture from the smallest on, and how often each is there; of floats both ends alone."""
    counts, low, high = np.zeros(1 << 16, np.int64), np.float32(np.inf), np.float32(-np.inf)
    deep = False
    for part in parts:
        if part.dtype.kind == "f":
            deep, low, high = True, min(low, part.min()), max(high, part.max())
        else:
            counts += np.bincount(part.ravel(), minlength=len(counts))
    if deep:
        return np.array([low, high], np.float32), None
    values = np.flatnonzero(counts)
    return values.astype(np.uint16), counts[values]


def _percentile(values: Pixels, counts: NDArray[np.int64], of: float) -> float:
    """NumPy's percentile of values that are there so often, in its own arithmetic.

    Args:
        values: From the smallest on.
        counts: How often each is there.
        of: 0..100.
    """
    below = np.cumsum(counts)
    place = of / 100 * (int(below[-1]) - 1)
    first = int(np.floor(place))
    last = min(first + 1, int(below[-1]) - 1)
    share = np.float64(place - first)
    # arrays of one value: NumPy rounds differences to the values' own type
    low, high = (values[[int(np.searchsorted(below, number, side="right"))]] for number in (first, last))
    step = high - low
    return float((high - step * (1 - share) if share >= 0.5 else low + step * share)[0])
