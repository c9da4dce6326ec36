"""A sheet of pairs whose edges are laid over each other: infrared red, visible cyan, white where both agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ivif.commands.data.contact_sheet import BACKGROUND, TEXT
from ivif.commands.report.files import save_picture
from ivif.files.names import printable
from ivif.registration import stretch, warp
from ivif.registration.geometry import Matrix, Plane, Size

PANEL: Final = (320, 256)
"""(width, height) that each overlay is fitted into."""

HEADS: Final = ("as it is", "under the estimate", "as it is, a part of it", "the same under the estimate")
_MARGIN: Final = 8
_LINE: Final = 18
_PART: Final = 3
"""A part is so many times smaller than the picture, and shown so many times larger."""

_WORKING_SIDE: Final = 960
_STRONG: Final = 98.0
"""Percentile of the strength of edges that is shown with full light."""

_NOISE: Final = 60.0
"""The same of what is shown dark."""

Shown = NDArray[np.uint8]


@dataclass(frozen=True)
class Overlay:
    """One pair of the sheet.

    Args:
        lines: Two lines above it.
        infrared: (H, W), of any range.
        visible: (H, W).
        estimate: From pixels of the visible to those of the infrared picture; None where nothing was found.
    """

    lines: tuple[str, str]
    infrared: Plane
    visible: Plane
    estimate: Matrix | None


def draw_alignment_sheet(overlays: Sequence[Overlay], path: Path) -> None:
    """Writes the sheet as PNG, a row of four overlays for each pair.

    Args:
        overlays: In reading order; at least one.
        path: The file to write.
    """
    width = len(HEADS) * (PANEL[0] + _MARGIN) + _MARGIN
    height = 2 * _LINE + PANEL[1] + _MARGIN
    sheet = Image.new("RGB", (width, _LINE + _MARGIN + len(overlays) * height), BACKGROUND)
    drawing, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    drawing.text((_MARGIN, 4), "edges: infrared red, visible cyan, white where both agree", fill=TEXT, font=font)
    for row, overlay in enumerate(overlays):
        top = _LINE + _MARGIN + row * height
        drawing.text((_MARGIN, top), _fitted(drawing, overlay.lines[0], font, width), fill=TEXT, font=font)
        drawing.text((_MARGIN, top + _LINE - 3), _fitted(drawing, overlay.lines[1], font, width), fill=TEXT, font=font)
        for column, (head, picture) in enumerate(zip(HEADS, panels(overlay), strict=True)):
            left = _MARGIN + column * (PANEL[0] + _MARGIN)
            image = Image.fromarray(picture)
            sheet.paste(image, (left, top + 2 * _LINE))
            foot = top + 2 * _LINE + image.height
            drawing.rectangle((left, foot - 17, left + drawing.textlength(head, font=font) + 8, foot - 1), BACKGROUND)
            drawing.text((left + 4, foot - 16), head, fill=TEXT, font=font)
    save_picture(sheet, path)


def panels(overlay: Overlay) -> list[Shown]:
    """Four overlays, (h, w, 3) each: the pair as it is and under the estimate, whole and a part of it."""
    whole = (overlay.visible.shape[0], overlay.visible.shape[1])
    shrink = min(1.0, _WORKING_SIDE / max(whole))
    size = (max(1, round(whole[0] * shrink)), max(1, round(whole[1] * shrink)))
    to_whole = stretch(size, whole)
    plain = stretch(whole, (overlay.infrared.shape[0], overlay.infrared.shape[1]))
    matrices = (plain, plain if overlay.estimate is None else overlay.estimate)
    source = _smooth_for(overlay.infrared, size)
    planes = [warp(source, matrix @ to_whole, size) for matrix in matrices]
    seen = cv2.resize(overlay.visible.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    visible, *infrared = (strength(plane) for plane in (np.asarray(seen), *planes))
    rows, columns = busiest_part(np.asarray(visible * infrared[-1]))
    parts = [(edges[rows, columns], visible[rows, columns]) for edges in infrared]
    return [_panel(*pair) for pair in (*((edges, visible) for edges in infrared), *parts)]


def strength(plane: Plane) -> NDArray[Any]:
    """How strong edges are, in [0, 1]."""
    smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 1.2)
    slopes = [cv2.Scharr(smooth, cv2.CV_32F, *along) for along in ((1, 0), (0, 1))]
    length = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2)
    inner = length[2:-2, 2:-2] if min(length.shape) > 4 else length
    noise, strong = np.percentile(inner, (_NOISE, _STRONG))
    return np.asarray(np.clip((length - noise) / max(float(strong - noise), 1e-6), 0, 1) ** 0.7)


def busiest_part(both: Plane) -> tuple[slice, slice]:
    """Rows and columns of the part, a third of each side, that holds most of what both pictures have."""
    height, width = (max(1, length // _PART) for length in both.shape)
    sums = cv2.boxFilter(both.astype(np.float32), -1, (width, height), normalize=False, borderType=cv2.BORDER_CONSTANT)
    top, left = height // 2, width // 2
    inner = np.asarray(sums)[top : top + both.shape[0] - height + 1, left : left + both.shape[1] - width + 1]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    return slice(int(row), int(row) + height), slice(int(column), int(column) + width)


def _smooth_for(picture: Plane, size: Size) -> Plane:
    """An infrared picture without what would flicker when it is shrunk."""
    shrink = max(picture.shape[0] / size[0], picture.shape[1] / size[1])
    plane = picture.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), shrink / 2)) if shrink > 1 else plane


def _panel(infrared: NDArray[Any], visible: NDArray[Any]) -> Shown:
    scale = min(PANEL[0] / visible.shape[1], PANEL[1] / visible.shape[0])
    across = (max(1, round(visible.shape[1] * scale)), max(1, round(visible.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    red, cyan = (cv2.resize(edges.astype(np.float32), across, interpolation=how) for edges in (infrared, visible))
    return np.asarray((np.dstack([red, cyan, cyan]) * 255).round().clip(0, 255), dtype=np.uint8)


def _fitted(drawing: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    """A line, cut to fit."""
    text = printable(text)
    while drawing.textlength(text, font=font) > width - 2 * _MARGIN and len(text) > 1:
        text = f"{text[:-2]}…"
    return text
