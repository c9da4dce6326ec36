import numpy as np
import pytest

from ivif.datamodules.datasets.thermal import ThermalRange

RAW = np.array([[1000, 2000], [3000, 5000]], dtype=np.uint16)


def test_type_divides_by_the_maximum_of_the_type() -> None:
    np.testing.assert_allclose(ThermalRange("type").apply(RAW), RAW / 65535, rtol=1e-6)


def test_fixed_maps_and_clips() -> None:
    np.testing.assert_allclose(ThermalRange("fixed", 2000, 4000).apply(RAW), np.array([[0, 0], [0.5, 1]]))


def test_minmax_stretches_each_image() -> None:
    np.testing.assert_allclose(ThermalRange("minmax").apply(RAW), [[0, 0.25], [0.5, 1]])
    assert not ThermalRange("minmax").apply(np.full((2, 2), 7, dtype=np.uint16)).any()


def test_percentile_ignores_hot_pixels() -> None:
    raw = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    raw[0, 0] = 60000
    scaled = ThermalRange("percentile", 10, 90).apply(raw)
    assert scaled[0, 0] == 1
    assert scaled.flat[500] == pytest.approx((500 - 100) / 800, abs=0.005)


def test_floats_of_unknown_range_are_refused() -> None:
    kelvin = np.array([[280.0, 310.0]], dtype=np.float32)
    with pytest.raises(ValueError, match="310"):
        ThermalRange("type").apply(kelvin)
    assert ThermalRange("fixed", 280, 310).apply(kelvin).tolist() == [[0.0, 1.0]]
    assert ThermalRange("type").apply(kelvin / 310)[0, 1] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fixed",), "high"),
        (("fixed", 5, 4), "below"),
        (("percentile", 1, 101), "percentiles"),
        (("none",), "known"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThermalRange(*arguments)  # type: ignore[arg-type]
