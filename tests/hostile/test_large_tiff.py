"""TIFF files that are read in parts, with every byte of their headers changed: an array, or one error."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ivif.files.errors import UnreadableFileError
from ivif.files.tiff_windows import opened
from ivif.machine.peak_memory import peak_resident

MIB = 2**20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [{"rowsperstrip": 4}, {"tile": (16, 16), "compression": "zlib", "predictor": True}])
def test_no_byte_of_a_file_leads_elsewhere(
    how: dict[str, object], place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = place / "a.tif"
    values = np.random.default_rng(0).integers(0, 65536, (12, 20, 3)).astype(np.uint16)
    tifffile.imwrite(path, values, photometric="rgb", metadata=None, software=False, **how)  # type: ignore[arg-type]
    content = path.read_bytes()
    begin, outcomes = peak_resident(), {"read": 0, "refused": 0}
    for index, value in itertools.product(range(min(len(content), 400)), (0x00, 0x01, 0x7F, 0xFF)):
        path.write_bytes(content[:index] + bytes([value]) + content[index + 1 :])
        try:
            with opened(path) as picture:
                rows, columns = slice(0, min(picture.height, 12)), slice(0, min(picture.width, 20))
                assert picture.read(rows, columns).dtype == picture.dtype
            outcomes["read"] += 1
        except UnreadableFileError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50
    assert capfd.readouterr().err == ""
    assert peak_resident() - begin < 256 * MIB
