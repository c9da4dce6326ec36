"""A headless browser, where one is installed: pictures of pages that we write."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

from ivif.commands.errors import UsageError
from ivif.commands.report.files import save_picture
from ivif.files.pictures import load_rgb

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


def find_browser() -> str | None:
    """The first of `BROWSERS` that is installed."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def run_browser(page: Path, *options: str, dark: bool = False) -> str:
    """Opens a page without a window and without a network, and returns what the browser printed.

    Args:
        page: An HTML file.
        options: Options of the browser beside those that every call has.
        dark: Whether the page is told that its reader prefers dark colours.

    Raises:
        UsageError: If there is no browser, or it fails.
    """
    browser = find_browser()
    if browser is None:
        raise UsageError(f"No headless browser is installed; looked for {', '.join(BROWSERS)}.")
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
