"""The page of `ivif demo`, made with gradio."""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import gradio

from ivif.commands.demo.fusing import fuse_pair, write_examples
from ivif.commands.errors import UsageError
from ivif.commands.models.scores import METRICS
from ivif.files.errors import UserError
from ivif.weights import preferred_name, released_names

_HOST: Final = "127.0.0.1"
_LARGEST_FILE: Final = "200mb"
_ABOUT: Final = """# Fusion of infrared and visible
Two registered pictures of one scene, or one of the generated examples below. The slider compares the visible picture
with the fused one; the table scores it beside plain rules (higher is better in all columns)."""

_FONTS: Final = ["system-ui", "sans-serif"]
"""Those of the machine: the theme's usual ones would be asked of a server."""


def serve(folder: Path, model: str | None, port: int) -> tuple[str, Callable[[], None]]:
    """Serves the page on this machine alone, in a thread of its own.

    Args:
        folder: Where pictures are written; uploads too, where GRADIO_TEMP_DIR says so.
        model: A network beside the released ones.
        port: Where.

    Returns:
        Its address, and what ends it.

    Raises:
        UsageError: If the port is taken.
    """
    page = build_page(folder, model)
    theme = gradio.themes.Default(font=_FONTS, font_mono=["monospace"])
    try:
        _, address, _ = page.launch(
            server_name=_HOST, server_port=port, share=False, prevent_thread_lock=True, quiet=True, inbrowser=False,
            ssr_mode=False, mcp_server=False, footer_links=[], max_file_size=_LARGEST_FILE, theme=theme,
            show_error=True,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"--port {port}: it is taken. Choose another one.") from error
    return address, page.close


def build_page(folder: Path, model: str | None) -> gradio.Blocks:
    """The page: two pictures, a network and a text go in, the fused picture and its scores come out."""
    models = list(dict.fromkeys([model or preferred_name(), *released_names()]))
    page = gradio.Blocks(title="IVIF-Lightning", analytics_enabled=False)
    with page:
        gradio.Markdown(_ABOUT)
        with gradio.Row():
            pictures = [_upload(label) for label in ("Infrared", "Visible")]
        with gradio.Row():
            network = gradio.Dropdown(models, value=models[0], label="Network")
            prompt = gradio.Textbox(label="Text, for a network that takes one", max_lines=1, max_length=1000)
            button = gradio.Button("Fuse", variant="primary")
        slider = gradio.ImageSlider(label="Visible | fused", type="filepath", format="png")
        stored = gradio.DownloadButton("Fused picture as PNG", interactive=False)
        scores = gradio.Dataframe(headers=["row", *METRICS], label="Scores", interactive=False)
        gradio.Examples(write_examples(folder / "examples"), pictures, label="Generated scenes")
        given, shown = [*pictures, network, prompt], [slider, stored, scores]
        button.click(partial(_fuse, folder, count()), given, shown, api_name="fuse")
    return page


def _upload(label: str) -> gradio.Image:
    """Takes a file as it is: in no other mode, so that thermal pictures keep 16 bits."""
    return gradio.Image(
        label=label, sources=["upload"], type="filepath", image_mode=None, height=280, elem_id=label.lower()
    )


def _fuse(
    folder: Path, calls: "count[int]", infrared: str | None, visible: str | None, model: str, prompt: str
) -> tuple[tuple[str, str], Any, list[list[str]]]:
    """What the button does: pictures of the slider, the file to keep, rows of the table."""
    place = folder / f"result-{next(calls)}"
    place.mkdir()
    try:
        result = fuse_pair(infrared, visible, model, prompt.strip(), place)
    except (UserError, ValueError) as error:
        raise gradio.Error(str(error), print_exception=False) from error
    if not result.scores:
        gradio.Info("The picture is too large to be scored here: report score does it.")
    fused = str(result.fused)
    return (str(result.visible), fused), gradio.DownloadButton(value=fused, interactive=True), result.scores
