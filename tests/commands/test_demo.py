"""`ivif demo`: the page fuses as `fuse` does, on this machine alone, and says what is wrong with what it gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image

import ivif
from ivif.commands.demo import fusing
from ivif.commands.demo.fusing import fuse_pair, write_examples
from ivif.commands.errors import UsageError
from ivif.commands.models.scores import METRICS, PLAIN_ROWS
from ivif.datamodules.datasets.io import read_image
from ivif.files.errors import UserError
from ivif.inference.pictures import infrared_of, visible_of
from ivif.metrics import FusionMetrics
from tests.browsers import browser_page, needs_browser
from tests.ports import free_port
from tests.refusals import refused

MODEL = "mgfusion-light"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An infrared picture of 16 bits and a visible one."""
    folder = tmp_path_factory.mktemp("pair")
    infrared, visible = write_examples(folder)[1]
    deep = folder / "deep.png"
    Image.fromarray(np.asarray(Image.open(infrared)).astype(np.uint16) * 257).save(deep)
    return str(deep), visible


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the page."""
    pytest.importorskip("gradio")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
    from ivif.commands.demo.page import serve

    address, close = serve(folder, None, free_port())
    try:
        yield address
    finally:
        close()


def test_a_pair_is_fused_as_by_name_and_scored_beside_the_plain_rules(pair: tuple[str, str], tmp_path: Path) -> None:
    result = fuse_pair(*pair, MODEL, "", tmp_path)
    expected = np.asarray(ivif.load(MODEL)(*pair))
    assert np.array_equal(read_image(result.fused), expected)
    assert np.array_equal(read_image(result.visible), read_image(Path(pair[1])))
    assert [row[0] for row in result.scores] == ["network", *PLAIN_ROWS]
    assert all(len(row) == len(METRICS) + 1 for row in result.scores)
    metric = FusionMetrics(METRICS)
    pictures = visible_of(result.fused), infrared_of(pair[0]), visible_of(pair[1])
    fused, infrared, visible = (
        planes[None] / 255 if planes.dtype == torch.uint8 else planes[None] for planes in pictures
    )
    metric.update(fused, infrared, visible, dataset=["scenes"], name=["pair"])
    assert result.scores[0][1:] == [f"{value:.3f}" for value in metric.compute().values()]


def test_large_pictures_are_not_scored(pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "MOST_SCORED", 240 * 320 - 1)
    result = fuse_pair(*pair, MODEL, "", tmp_path)
    assert result.scores == []
    assert result.fused.is_file()


def test_what_cannot_be_fused_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Two pictures are needed"):
        fuse_pair(None, pair[1], MODEL, "", tmp_path)
    with pytest.raises(ValueError, match="takes no text"):
        fuse_pair(*pair, MODEL, "a road", tmp_path)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(Path(pair[0]).read_bytes()[:200])
    with pytest.raises(UserError, match=r"damaged\.png"):
        fuse_pair(str(damaged), pair[1], MODEL, "", tmp_path)


def test_wrong_ports_and_a_missing_library_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "from 1 to 65535" in refused(["demo", "--port", "70000"], capsys)
    assert "--port 0:" in refused(["demo", "--port", "0", "--model", MODEL], capsys)
    pytest.importorskip("gradio")
    assert "no_such" in refused(["demo", "--model", "no_such"], capsys)
    monkeypatch.setattr("ivif.files.libraries.find_spec", lambda _: None)
    assert "demo needs gradio: pip install 'ivif-lightning[demo]'" in refused(["demo"], capsys)


def test_the_page_is_served_to_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, monkeypatch) as address:
        assert address.startswith("http://127.0.0.1:")
        page = urlopen(address).read().decode()  # noqa: S310 - our own
        assert "IVIF-Lightning" in page
        assert "fonts.googleapis" not in page
        from ivif.commands.demo.page import serve

        with pytest.raises(UsageError, match="it is taken"):
            serve(tmp_path / "other", None, int(address.rstrip("/").rpartition(":")[2]))


def test_the_page_fuses_what_is_sent_to_it(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    with served(tmp_path, monkeypatch) as address:
        client: Any = Client(address, verbose=False, analytics_enabled=False, download_files=str(tmp_path / "client"))
        files = [handle_file(path) for path in pair]
        slider, stored, scores = client.predict(*files, MODEL, "", api_name="/fuse")
        expected = np.asarray(ivif.load(MODEL)(*pair))
        assert np.array_equal(read_image(Path(slider[1])), expected)
        assert np.array_equal(read_image(Path(stored["value"] if isinstance(stored, dict) else stored)), expected)
        assert [row[0] for row in scores["data"]] == ["network", *PLAIN_ROWS]
        with pytest.raises(AppError, match="takes no text"):
            client.predict(*files, MODEL, "a road", api_name="/fuse")
        with pytest.raises(AppError, match="not in the list of choices"):
            client.predict(*files, "/etc/passwd", "", api_name="/fuse")


@pytest.mark.slow
@needs_browser
def test_the_page_in_a_browser(pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, monkeypatch) as address, browser_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.get_by_role("button", name="Fuse", exact=True).click()
        page.get_by_text("Two pictures are needed").wait_for()
        for name, path in zip(("infrared", "visible"), pair, strict=True):
            page.locator(f"#{name} input[type=file]").set_input_files(path)
            page.locator(f"#{name} img").first.wait_for()
        page.get_by_role("button", name="Fuse", exact=True).click()
        page.get_by_text("laplacian_pyramid").first.wait_for(state="attached", timeout=120_000)
        with page.expect_download() as download:
            page.get_by_text("Fused picture as PNG").click()
        assert np.array_equal(read_image(Path(download.value.path())), np.asarray(ivif.load(MODEL)(*pair)))
        assert all(url.startswith((address, "data:", "blob:")) for url in asked)  # nothing from elsewhere
