"""TIFF written a few rows at a time, read back by tifffile and by PIL."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from ivif.files.tiff_writing import write_rows


def written(values: np.ndarray, step: int, **how: Any) -> bytes:
    stream = io.BytesIO()
    height, width, _ = values.shape
    write_rows(stream, (values[top : top + step] for top in range(0, height, step)), (height, width), **how)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(256, 256), (300, 513), (10, 20), (1000, 300)])
@pytest.mark.parametrize("step", [1, 77, 256, 1000])
def test_rows_of_any_heights_are_the_picture(size: tuple[int, int], step: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    content = written(values, step)
    assert content.startswith(b"II*\0")
    assert np.array_equal(tifffile.imread(io.BytesIO(content)), values)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), values)


def test_what_offsets_of_32_bits_do_not_reach_is_bigtiff() -> None:
    values = np.random.default_rng(0).integers(0, 256, (300, 40, 3)).astype(np.uint8)
    assert written(values, 64, classic=values.nbytes).startswith(b"II*\0")
    content = written(values, 64, classic=values.nbytes - 1)
    assert content.startswith(b"II+\0")
    assert np.array_equal(tifffile.imread(io.BytesIO(content)), values)


def test_missing_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="200 rows of 300"):
        write_rows(io.BytesIO(), [np.zeros((200, 40, 3), np.uint8)], (300, 40))
