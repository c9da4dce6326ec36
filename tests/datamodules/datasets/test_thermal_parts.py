"""Thermal ranges of a picture seen in parts, against those of the whole."""

from collections.abc import Callable

import numpy as np
import pytest

from ivif.datamodules.datasets.temperatures import from_centikelvin
from ivif.datamodules.datasets.thermal import Pixels, ThermalRange
from ivif.datamodules.datasets.thermal_parts import scaling_of
from ivif.files.errors import UserError

RANGES = [
    ThermalRange(),
    ThermalRange("minmax"),
    ThermalRange("type"),
    ThermalRange("fixed", 100, 3000),
    ThermalRange("percentile", 3.3, 71.9),
    ThermalRange("percentile", 0, 100),
]


def as_counted(values: Pixels) -> Pixels:
    return values


def in_parts(raw: Pixels, thermal_range: ThermalRange, unit: Callable[[Pixels], Pixels] = as_counted) -> Pixels:
    parts = raw[:1], raw[1:7], raw[7:]
    scaling = scaling_of((part for part in parts if part.size), thermal_range, unit)
    return np.concatenate([scaling(part) for part in parts])


@pytest.mark.parametrize("thermal_range", RANGES)
def test_integers_are_scaled_as_the_whole_is_bit_for_bit(thermal_range: ThermalRange) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape, centre, spread = rng.integers(1, 60, 2), rng.integers(0, 60000), rng.integers(1, 5000)
        raw = np.clip(rng.normal(centre, spread, shape), 0, 65535).astype(np.uint16)
        assert np.array_equal(in_parts(raw, thermal_range), thermal_range.apply(raw))
        if thermal_range.mode != "type":
            whole = thermal_range.apply(from_centikelvin(raw))
            assert np.array_equal(in_parts(raw, thermal_range, from_centikelvin), whole)


def test_one_grey_is_black() -> None:
    raw = np.full((9, 5), 700, np.uint16)
    assert not in_parts(raw, ThermalRange()).any()


@pytest.mark.parametrize("thermal_range", [ThermalRange(), ThermalRange("type"), ThermalRange("minmax")])
def test_floats_between_0_and_1_are_scaled_as_the_whole_is(thermal_range: ThermalRange) -> None:
    raw = np.random.default_rng(0).random((20, 30)).astype(np.float32) * 0.5 + 0.2
    assert np.array_equal(in_parts(raw, thermal_range), thermal_range.apply(raw))


def test_percentiles_of_floats_are_refused_with_what_to_give() -> None:
    raw = np.linspace(0, 50, 600, dtype=np.float32).reshape(20, 30)
    with pytest.raises(UserError, match="--thermal_range fixed with --low and --high, or minmax"):
        in_parts(raw, ThermalRange())
    with pytest.raises(ValueError, match="from 0 to 50"):
        in_parts(raw, ThermalRange("type"))
    fixed = ThermalRange("fixed", 10, 40)
    assert np.array_equal(in_parts(raw, fixed), fixed.apply(raw))
