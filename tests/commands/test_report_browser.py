"""The page of a run in a real browser: on a phone and a desktop, in light and dark."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.report.command import main
from ivif.commands.report.files import take_picture
from tests.browsers import browser_page, needs_browser
from tests.commands.test_report_run import write_run

pytestmark = [pytest.mark.slow, needs_browser]

MEASURE = """<script>
const problems = [];
addEventListener("error", event => problems.push(event.message));
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1
    && !e.closest(".scroll, .panel, pre, nav, .skip"));
  const broken = [...document.images].filter(i => i.loading != "lazy" && !(i.complete && i.naturalWidth));
  const style = getComputedStyle(document.body);
  document.body.dataset.found = JSON.stringify({
    overflow: document.documentElement.scrollWidth > innerWidth, wide: wide.map(e => e.outerHTML.slice(0, 80)),
    broken: broken.length, requests: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:"))
    .length, colors: style.color + style.backgroundColor, problems, width: innerWidth});
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "made" / "run")
    assert main(["run", str(run)]) == 0
    return run / "report.html"


def _measured(page: Path, width: int, dark: bool) -> dict[str, object]:
    """What a script in a copy of the page, without its ban on scripts, finds out."""
    text = re.sub(r"<meta http-equiv[^>]*>", MEASURE, page.read_text(encoding="utf-8"))
    copy = page.with_name("measured.html")
    copy.write_text(text, encoding="utf-8")
    with browser_page() as shown:  # a window of Chromium's own is never as narrow as a phone
        shown.set_viewport_size({"width": width, "height": 900})
        shown.emulate_media(color_scheme="dark" if dark else "light")
        shown.goto(copy.as_uri())
        measured: dict[str, object] = json.loads(shown.locator("body").get_attribute("data-found"))
    return measured


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_and_asks_for_nothing(page: Path, width: int) -> None:
    found = _measured(page, width, dark=False)
    assert found.pop("colors") == "rgb(23, 32, 43)rgb(246, 247, 249)"
    assert found.pop("width") == width
    assert found == {"overflow": False, "wide": [], "broken": 0, "requests": 0, "problems": []}


def test_it_is_dark_for_those_who_prefer_that(page: Path, tmp_path: Path) -> None:
    assert _measured(page, 1280, dark=True)["colors"] == "rgb(231, 236, 242)rgb(16, 21, 27)"
    for dark, brightness in ((False, 230), (True, 40)):
        take_picture(page, tmp_path / "page.jpg", (800, 900), dark)
        picture = np.asarray(Image.open(tmp_path / "page.jpg").convert("L"))
        assert picture.shape == (585, 520)
        assert abs(float(np.median(picture)) - brightness) < 30
