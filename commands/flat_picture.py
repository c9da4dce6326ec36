"""A word on infrared of more than 8 bits that fusing would not see."""

import sys
from pathlib import Path

from ivif.datamodules.datasets.io import read_image
from ivif.datamodules.datasets.plausibility import FLAT, picture_facts
from ivif.datamodules.datasets.temperatures import as_celsius
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.names import printable


def tell_flat(infrared: Path, thermal_range: ThermalRange) -> None:
    """Says of an infrared file that it comes out as next to one grey, with the remedy; nothing of others."""
    pixels = as_celsius(infrared, read_image(infrared, luma=True))
    facts = picture_facts(pixels, thermal_range)
    if facts.deep and facts.contrast < FLAT:
        print(
            f"'{printable(infrared)}' comes out as next to one grey (values up to {facts.highest:g}): "
            f"--thermal_range auto stretches it.",
            file=sys.stderr,
        )
