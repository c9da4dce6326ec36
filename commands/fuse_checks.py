"""What `fuse` looks at before it computes: the place for its file, and whether both sources show one scene."""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.files.names import printable

_APART: Final = 0.05
"""Relative difference of two pictures' proportions from which on they are others."""


def check_out(out: Path, what: str, suffixes: Iterable[str], overwrite: bool, sources: Sequence[Path]) -> None:
    """Refuses a place that a file cannot or should not be written to.

    Args:
        out: The file.
        what: `picture` or `video`.
        suffixes: Endings that it may have.
        overwrite: Whether it may be there.
        sources: What it is made of.

    Raises:
        UsageError: If it is refused.
    """
    known = sorted(suffixes)
    if out.is_dir():
        example = out / f"fused{'.png' if '.png' in known else '.mp4'}"
        raise UsageError(f"--out {printable(out)} is a folder: name the {what} to write, such as {example}.")
    if out.suffix.lower() not in known:
        raise UsageError(f"--out {printable(out)}: a {what} ends in {', '.join(known)}.")
    if out.exists() and any(out.samefile(source) for source in sources):
        raise UsageError(f"--out {printable(out)} is one of the two {what}s. Choose another name.")
    if out.exists() and not overwrite:
        raise UsageError(f"--out {printable(out)} is there already. Choose another name, or give --overwrite true.")


def tell_proportions(infrared: Path, visible: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """Says on stderr that both have other proportions; sizes are (height, width) of infrared and visible."""
    if have_other_proportions(sizes):
        print(
            f"'{printable(infrared)}' has other proportions than '{printable(visible)}' and is stretched to them: "
            f"pictures that show the same scene pixel by pixel are expected.",
            file=sys.stderr,
        )


def have_other_proportions(sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether two sizes, (height, width), are those of different fields of view, not of one in two resolutions."""
    first, second = (height / width for height, width in sizes)
    return abs(math.log(first / second)) > _APART
