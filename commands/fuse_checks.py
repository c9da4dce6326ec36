"""What `fuse` looks at before it computes: the place for its file, and whether both sources show one scene."""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.files.names import printable

PANEL: Final = "_panel"
"""At the end of the name of what shows both sources beside the fused one."""

_APART: Final = 0.05
"""Relative difference of two pictures' proportions from which on they are others."""


def check_out(out: Path, suffixes: Iterable[str], what: str, overwrite: bool, sources: Sequence[Path]) -> None:
    """Refuses a place that a file cannot or should not be written to.

    Args:
        out: The file.
        suffixes: Endings that it may have.
        what: `picture` or `video`.
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
    _check_free(out, "--out", what, overwrite, sources)


def panel_path(out: Path, suffix: str, what: str, overwrite: bool, sources: Sequence[Path]) -> Path:
    """Where both sources are shown beside the fused one.

    Args:
        out: The file of the fused one.
        suffix: Its ending.
        what: `picture` or `video`.
        overwrite: Whether it may be there.
        sources: What both are made of.

    Raises:
        UsageError: If the place is taken.
    """
    path = out.with_name(f"{out.stem}{PANEL}{suffix}")
    _check_free(path, "--side_by_side makes", what, overwrite, sources)
    return path


def _check_free(out: Path, option: str, what: str, overwrite: bool, sources: Sequence[Path]) -> None:
    if out.exists() and any(out.samefile(source) for source in sources):
        raise UsageError(f"{option} {printable(out)}: it is one of the two {what}s. Choose another name.")
    if out.exists() and not overwrite:
        raise UsageError(
            f"{option} {printable(out)}: it is there already. Choose another name, or give --overwrite true."
        )


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
