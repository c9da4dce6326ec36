"""A real browser, where this machine has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from ivif.commands.report.files import find_browser

needs_browser = pytest.mark.skipif(
    find_browser() is None or find_spec("playwright") is None,
    reason="no headless browser: install chromium-headless-shell",
)


@contextmanager
def browser_page() -> Iterator[Any]:
    """An empty page without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()
