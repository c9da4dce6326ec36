"""Files of reports: written whole, and over nothing but what a report of the suite wrote before; pictures of pages.

A page is pictured by a headless browser, where one is installed.
"""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ivif.commands.errors import UsageError
from ivif.files.pictures import load_rgb
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
    b"method,name,convention,metric,value",
    b"convention,metric,direction,method,",
    b"dataset,name,shift,right,down,turn_degrees,",
    b"dataset,convention,metric,direction,method,",
    b"# Scores\n",
    b'{\n  "entity": ',
    b'{\n  "id": "",\n  "name": "",\n  "displayName": "Infrared-visible fusion"',
    b"% needs \\usepackage{booktabs}; best mean bold",
)
"""How our tables and definitions begin, which nothing is added to."""

_SOFTWARE: Final = {"png": "Software", "pdf": "Creator", "svg": "Creator"}
"""Where matplotlib puts the mark."""


BROWSERS: Final = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
"""Programs that are looked for, in this order."""

SHRINK: Final = 65
"""Percent of a page's pixels that a picture of it keeps, in width and height: still readable, half the file."""

SECONDS: Final = 120
"""How long a browser may take for one page."""


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
    kind = _picture_kind(path)
    note, stream = PngInfo(), io.BytesIO()
    note.add_text("Software", MARK)
    picture.save(stream, kind, pnginfo=note, comment=MARK.encode(), quality=quality)
    write_whole(path, stream.getbuffer())


def _picture_kind(path: Path) -> str:
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in ("PNG", "JPEG"):
        raise UsageError(f"'{path}': pictures are written as .png or .jpg. Choose one of these endings.")
    return kind


def refuse_picture(path: Path) -> None:
    """Refuses a picture of a page that could not be taken; call it before anything is written.

    Raises:
        UsageError: If the name's ending is none of a picture, or no browser is installed.
    """
    _picture_kind(path)
    _browser()


def find_browser() -> str | None:
    """The first of `BROWSERS` that is installed."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def _browser() -> str:
    browser = find_browser()
    if browser is None:
        raise UsageError(f"No headless browser is installed; looked for {', '.join(BROWSERS)}.")
    return browser


def run_browser(page: Path, *options: str, dark: bool = False) -> str:
    """Opens a page without a window and without a network, and returns what the browser printed.

    Args:
        page: An HTML file.
        options: Options of the browser beside those that every call has.
        dark: Whether the page is told that its reader prefers dark colours.

    Raises:
        UsageError: If there is no browser, or it fails.
    """
    browser = _browser()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",  # a page of our own, and containers run as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--proxy-server=127.0.0.1:9",  # nothing is there: a request to anywhere fails
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={profile}",
            *options,
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - a browser found on PATH, no shell, our own page
                command, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise UsageError(f"{browser} could not show '{page}': {error}") from error
    return done.stdout


def take_picture(page: Path, out: Path, size: tuple[int, int] = (1280, 2150), dark: bool = False) -> None:
    """Saves the beginning of a page, shrunk, as PNG or JPEG by the name's ending.

    Args:
        page: An HTML file.
        out: The picture to write.
        size: (width, height) of the window, in pixels.
        dark: As in `run_browser`.

    Raises:
        UsageError: As `run_browser`.
    """
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "page.png"
        run_browser(page, f"--screenshot={taken}", f"--window-size={size[0]},{size[1]}", dark=dark)
        picture = load_rgb(taken)
        smaller = (SHRINK * picture.width // 100, SHRINK * picture.height // 100)
        save_picture(picture.resize(smaller, Image.Resampling.LANCZOS), out)


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        beginning = stream.read(_EDGE)
        stream.seek(max(0, path.stat().st_size - _EDGE))
        end = stream.read(_EDGE)
    return MARK.encode() in beginning + end or beginning.startswith(_BEGINNINGS)
