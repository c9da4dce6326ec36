"""A contact sheet: pairs side by side, infrared left and visible right, with their names and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ivif.commands.report.files import save_picture
from ivif.contracts.batch import Sample, empty_targets, plane_to_float
from ivif.files.names import printable

COLORS: Final = ("#ffd400", "#00e5ff", "#ff4fa3", "#7cff4f", "#ff8a1f", "#b48cff", "#ffffff", "#ff3b30")
BACKGROUND: Final = "#1b1d21"
TEXT: Final = "#e8e8e8"
THUMBNAIL: Final = (256, 192)
"""(width, height) that each picture is fitted into; smaller pictures are enlarged at most twice."""

_MARGIN: Final = 8
_CAPTION: Final = 18


@dataclass(frozen=True)
class Entry:
    """One pair of a sheet: the text above it, the pair, and the names of its classes."""

    caption: str
    sample: Sample
    classes: Sequence[str] = ()


def evenly(length: int, count: int) -> list[int]:
    """At most `count` positions spread over `range(length)`, first and last included."""
    if count >= length:
        return list(range(length))
    if count == 1:
        return [length // 2]
    return [round(step * (length - 1) / (count - 1)) for step in range(count)]


def draw_contact_sheet(entries: Sequence[Entry], path: Path, columns: int = 3) -> None:
    """Writes the sheet as PNG.

    Args:
        entries: The pairs, in reading order; at least one.
        path: The file to write.
        columns: Pairs per row.

    Raises:
        ValueError: If there is no pair.
    """
    if not entries:
        raise ValueError("A contact sheet needs at least one pair.")
    columns = min(columns, len(entries))
    rows = -(-len(entries) // columns)
    width, height = 2 * THUMBNAIL[0] + 2 * _MARGIN, THUMBNAIL[1] + _CAPTION + _MARGIN
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), BACKGROUND)
    for position, entry in enumerate(entries):
        row, column = divmod(position, columns)
        sheet.paste(_cell(entry, (width, height)), (column * width + _MARGIN, row * height + _MARGIN))
    save_picture(sheet, path)


def _cell(entry: Entry, size: tuple[int, int]) -> Image.Image:
    cell = Image.new("RGB", size, BACKGROUND)
    height, width = entry.sample["visible"].shape[-2:]
    _write_caption(ImageDraw.Draw(cell), f"{entry.caption}  {width}x{height}", _classes_in(entry), size[0] - _MARGIN)
    scale = min(THUMBNAIL[0] / width, THUMBNAIL[1] / height, 2.0)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    for side, plane in enumerate((entry.sample["infrared"], entry.sample["visible"])):
        picture = to_image(plane).resize(fitted, Image.Resampling.LANCZOS)
        _draw_boxes(picture, entry, scale)
        cell.paste(picture, (side * (fitted[0] + _MARGIN // 2), _CAPTION))
    return cell


def _write_caption(drawing: ImageDraw.ImageDraw, caption: str, labels: Sequence[tuple[str, str]], width: int) -> None:
    """The caption from the left, cut to fit; the classes from the right, in the colours of their boxes."""
    font = ImageFont.load_default(size=12)
    right = float(width)
    for name, color in reversed(labels):
        right -= drawing.textlength(f"{name} ", font=font)
        drawing.text((right, 1), name, fill=color, font=font)
    caption = printable(caption)
    while drawing.textlength(caption, font=font) > right and len(caption) > 1:
        caption = f"{caption[:-2]}…"
    drawing.text((0, 1), caption, fill=TEXT, font=font)


def _classes_in(entry: Entry) -> list[tuple[str, str]]:
    targets = entry.sample.get("targets")
    labels = sorted(set(targets["labels"].tolist())) if targets is not None else []
    return [(printable(entry.classes[label]), COLORS[label % len(COLORS)]) for label in labels]


def to_image(plane: Tensor) -> Image.Image:
    """A plane (1 or 3, H, W), 8-bit or float in [0, 1], as an RGB picture."""
    values = (plane_to_float(plane).clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).numpy()))


def _draw_boxes(picture: Image.Image, entry: Entry, scale: float) -> None:
    targets = entry.sample.get("targets")
    if targets is None:
        return
    drawing = ImageDraw.Draw(picture)
    regions = targets.get("ignored", empty_targets())["boxes"].tolist()
    colors = [COLORS[label % len(COLORS)] for label in targets["labels"].tolist()]
    for box, color in (*((region, TEXT) for region in regions), *zip(targets["boxes"].tolist(), colors, strict=True)):
        left, top, right, bottom = (round(scale * value) for value in box)
        edges = (left, top, min(right, picture.width - 1), min(bottom, picture.height - 1))
        drawing.rectangle(edges, outline=color)
