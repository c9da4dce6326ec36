"""Draws a grid of pictures: pairs as rows, methods as columns, enlarged boxes below each picture in coloured frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ivif.files.text_output import label

COLORS: Final = ("#ff2d2d", "#21d04b", "#2f9bff", "#ffc800")
"""Frames of the first, second, ... box."""

GAP: Final = 0.04
"""Inches between pictures."""

TITLE: Final = 0.2
"""Inches for the titles of columns, and for the names of rows."""

TALLEST: Final = 0.75
"""Height of the enlarged boxes at most, in heights of their picture."""

Box = tuple[float, float, float, float]
"""Left, bottom, width, height of axes, in inches."""


@dataclass
class Row:
    """A pair.

    Attributes:
        name: What stands beside it.
        pictures: (1, 1 or 3, H, W) in [0, 1], one of each column, all of one size.
        boxes: (left, top, right, bottom) in pixels, which are enlarged.
    """

    name: str
    pictures: list[Tensor]
    boxes: Sequence[tuple[int, int, int, int]] = ()

    def heights(self, width: float) -> tuple[float, float]:
        """Inches of the picture, and of the enlarged boxes below it, where the picture is `width` inches wide."""
        height, across = self.pictures[0].shape[2:]
        tall = width * height / across
        shapes = sum((right - left) / (bottom - top) for left, top, right, bottom in self.boxes)
        room = width - GAP * (len(self.boxes) - 1)
        return tall, min(room / shapes, TALLEST * tall) if self.boxes else 0.0


def draw(titles: Sequence[str], rows: Sequence[Row], colors: Sequence[str] = COLORS, width: float = 7.0) -> Figure:
    """The figure.

    Args:
        titles: Of the columns.
        rows: Pairs, with as many pictures as there are titles.
        colors: Of the boxes' frames; at least as many as a row has boxes.
        width: Inches of the whole.
    """
    column = (width - TITLE - GAP * len(titles)) / len(titles)
    tall = [sum(row.heights(column)) + GAP * (2 if row.boxes else 1) for row in rows]
    figure = Figure(figsize=(width, TITLE + sum(tall)))
    top = sum(tall)
    for index, title in enumerate(titles):
        middle = (TITLE + index * (column + GAP) + column / 2) / width
        figure.text(middle, 1 - 0.5 * TITLE / (TITLE + top), label(title), parse_math=False, **_text(column, title))
    for row, height in zip(rows, tall, strict=True):
        _draw_row(figure, row, top, column, colors)
        top -= height
    return figure


def _text(column: float, title: str) -> dict[str, Any]:
    """A title's font, smaller where it would not fit over its column: a letter is about .6 of its size wide."""
    size = min(8.0, column * 72 / (0.6 * max(1, len(label(title)))))
    return {"ha": "center", "va": "center", "fontsize": size}


def _draw_row(figure: Figure, row: Row, top: float, column: float, colors: Sequence[str]) -> None:
    tall, zoomed = row.heights(column)
    font = _text(tall, row.name)
    height = figure.get_figheight()
    figure.text(
        TITLE / 2 / figure.get_figwidth(),
        (top - tall / 2) / height,
        label(row.name),
        rotation=90,
        parse_math=False,
        **font,
    )
    widths = [zoomed * (right - left) / (bottom - top_) for left, top_, right, bottom in row.boxes]
    for index, picture in enumerate(row.pictures):
        start = TITLE + index * (column + GAP)
        axes = _show(figure, picture, (start, top - tall, column, tall))
        axes.set_axis_off()
        left = start + (column - sum(widths) - GAP * (len(widths) - 1)) / 2
        for box, color, wide in zip(row.boxes, colors, widths, strict=False):
            corner, size = (box[0] - 0.5, box[1] - 0.5), (box[2] - box[0], box[3] - box[1])
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=0.9))
            part = picture[..., box[1] : box[3], box[0] : box[2]]
            enlarged = _show(figure, part, (left, top - tall - GAP - zoomed, wide, zoomed))
            _frame(enlarged, color)
            left += wide + GAP


def _frame(axes: Axes, color: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(edgecolor=color, linewidth=1.4)


def _show(figure: Figure, picture: Tensor, place: Box) -> Axes:
    """A picture that fills a place of the figure."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
    pixels = picture[0].clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()
    axes.imshow(pixels, aspect="auto")
    return axes
