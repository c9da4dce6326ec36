"""Where the contents of a file of torch stand, for tests that damage them."""

import zipfile
from pathlib import Path


def contents(path: Path) -> dict[str, range]:
    """Positions of each entry's bytes, which torch does not compress, by name without the archive's own folder."""
    whole, found = path.read_bytes(), {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            lengths = (entry.header_offset + 26, entry.header_offset + 28)  # of the name and of what follows it
            begin = entry.header_offset + 30 + sum(int.from_bytes(whole[at : at + 2], "little") for at in lengths)
            found[entry.filename.partition("/")[2]] = range(begin, begin + entry.file_size)
    return found


def damage_a_value(path: Path) -> None:
    """Flips a bit in the first tensor: without a checksum it is another number."""
    whole = bytearray(path.read_bytes())
    whole[contents(path)["data/0"][0]] ^= 1
    path.write_bytes(whole)
