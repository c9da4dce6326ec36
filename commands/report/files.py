"""Files of reports: written whole, and over nothing but what a report of the suite wrote before."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ivif.commands.errors import UsageError
from ivif.files.whole import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # which takes long to import, and few commands draw

MARK: Final = "Written by IVIF-Lightning"
"""What our files say of themselves, where their format has a place for it."""

OVERWRITE: Final = "Write over --out, whatever it is; else only over an earlier report."
"""Help of `--overwrite`."""

_EDGE: Final = 4096
"""Bytes at the beginning and at the end of a file in which its mark is looked for."""

_BEGINNINGS: Final = (
    b"method,name,convention,metric,value\n",
    b"convention,metric,direction,method,",
    b"# Scores\n",
    b'{\n  "entity": ',
    b'{\n  "id": "",\n  "name": "",\n  "displayName": "Infrared-visible fusion"',
    b"% needs \\usepackage{booktabs}; best mean bold",
)
"""How our tables and definitions begin, which nothing is added to."""

_SOFTWARE: Final = {"png": "Software", "pdf": "Creator", "svg": "Creator"}
"""Where matplotlib puts the mark."""


def refuse_others(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses to write over files that are no reports; call it before anything is computed.

    Args:
        paths: What will be written.
        overwrite: Whether the user has said that they may be replaced, whatever they are.

    Raises:
        UsageError: Names the first of them.
    """
    for path in () if overwrite else paths:
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise UsageError(
                f"'{path}' is there, and is no report of this suite. Choose another --out, or add --overwrite true."
            )


def save_figure(figure: "Figure", path: Path, dpi: int) -> None:
    """Writes a figure in the format that its name's ending says, PNG without one.

    Raises:
        OSError: If it cannot be written; names the file, which is as before.
        ValueError: If the format is unknown.
    """
    kind = path.suffix.lower().removeprefix(".") or "png"
    options: dict[str, Any] = {"metadata": {_SOFTWARE[kind]: MARK}} if kind in _SOFTWARE else {}
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=dpi, **options)
    write_whole(path, stream.getbuffer())


def save_picture(picture: Image.Image, path: Path, quality: int = 80) -> None:
    """Writes a picture in the format that its name's ending says.

    Args:
        picture: RGB.
        path: The file.
        quality: Of a JPEG, in percent.

    Raises:
        OSError: If it cannot be written; names the file, which is as before.
        UsageError: If the ending is none of a picture.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in ("PNG", "JPEG"):
        raise UsageError(f"'{path}': pictures are written as .png or .jpg. Choose one of these endings.")
    note, stream = PngInfo(), io.BytesIO()
    note.add_text("Software", MARK)
    picture.save(stream, kind, pnginfo=note, comment=MARK.encode(), quality=quality)
    write_whole(path, stream.getbuffer())


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        beginning = stream.read(_EDGE)
        stream.seek(max(0, path.stat().st_size - _EDGE))
        end = stream.read(_EDGE)
    return MARK.encode() in beginning + end or beginning.startswith(_BEGINNINGS)
