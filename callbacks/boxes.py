"""Boxes drawn on pictures, and handed to W&B as overlays."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from ivif.contracts.batch import Boxes, Detections
from ivif.files.names import printable

COLORS: Final = ("#ffd400", "#00c8ff", "#ff4fa3", "#5dff57", "#ff8a3c", "#b48cff", "#ffffff", "#ff3b3b")
"""One per class, in turn; bright, because thermal images are grey and streets are dark."""

Corners = tuple[float, ...]
"""Left, top, right, bottom."""


def draw_boxes(picture: Image.Image, boxes: Boxes, class_names: Sequence[str], scale: float = 1.0) -> Image.Image:
    """A copy of a picture with boxes, in the colour of their class.

    Every detection has its class and score beside it, the strongest in the best place. Objects have thinner lines, and
    only the largest of each class bears its name, so that crowds stay visible.

    Args:
        picture: RGB.
        boxes: Objects or detections, in pixels of the unscaled picture.
        class_names: Name of each label.
        scale: Picture pixels per pixel of the boxes.
    """
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    entries = _entries(boxes, scale)
    width = max(1, round(min(picture.size) / (160 if "scores" in boxes else 320)))
    for entry in reversed(entries):
        left, top, right, bottom = entry.corners
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=entry.color, width=width)
    font = ImageFont.load_default(size=max(9, min(picture.size) / 22))
    taken: list[Corners] = []
    named: set[int] = set()
    for entry in entries:
        if entry.score is None and entry.label in named:
            continue
        named.add(entry.label)
        text = _caption(class_names[entry.label], entry.score)
        at = _free_place(draw.textbbox((0, 0), text, font=font), entry.corners, taken, picture.size)
        taken.append(draw.textbbox(at, text, font=font))
        draw.rectangle(_grown(taken[-1]), fill="#000000")
        draw.text(at, text, fill=entry.color, font=font)
    return drawn


class _Entry(NamedTuple):
    corners: Corners
    label: int
    score: float | None

    @property
    def color(self) -> str:
        return COLORS[self.label % len(COLORS)]

    @property
    def rank(self) -> float:
        left, top, right, bottom = self.corners
        return (right - left) * (bottom - top) if self.score is None else self.score


def _entries(boxes: Boxes, scale: float) -> list[_Entry]:
    """Detections by falling score, objects by falling area."""
    labels = boxes["labels"].tolist()
    scores = boxes["scores"].tolist() if "scores" in boxes else [None] * len(labels)
    corners = (boxes["boxes"] * scale).tolist()
    entries = [_Entry(tuple(c), label, score) for c, label, score in zip(corners, labels, scores, strict=True)]
    return sorted(entries, key=lambda entry: -entry.rank)


def _caption(name: str, score: float | None) -> str:
    return printable(name) if score is None else f"{printable(name)} {score:.2f}"


def _grown(area: Corners) -> Corners:
    return area[0] - 1, area[1] - 1, area[2] + 1, area[3] + 1


def _free_place(text: Corners, box: Corners, taken: Sequence[Corners], size: tuple[int, int]) -> tuple[float, float]:
    """Where a text of an extent goes: above its box, under it or further away, where no other text is; else above."""
    height = text[3] - text[1] + 4
    leftmost = max(0.0, min(box[0], size[0] - text[2] - 1))
    rightmost = max(0.0, min(box[2] - text[2], size[0] - text[2] - 1))
    rows = [box[1] - height, box[3] + 2, *(box[1] - n * height for n in (2, 3)), *(box[3] + n * height for n in (1, 2))]
    inside = [row for row in rows if 0 <= row <= size[1] - height] or [min(max(0.0, box[1] + 2), size[1] - height)]
    places = [(left, row - text[1] + 1) for row in inside for left in (leftmost, rightmost)]
    for left, row in places:
        area = _grown((left + text[0], row + text[1], left + text[2], row + text[3]))
        if not any(area[0] < o[2] and o[0] < area[2] and area[1] < o[3] and o[1] < area[3] for o in taken):
            return left, row
    return places[0]


def above_score(found: Detections, threshold: float) -> Detections:
    """The detections with at least a score."""
    kept = found["scores"] >= threshold
    return {"boxes": found["boxes"][kept], "scores": found["scores"][kept], "labels": found["labels"][kept]}


def overlay(boxes: Boxes, class_names: Sequence[str]) -> dict[str, Any]:
    """Boxes in the form of `wandb.Image(boxes={"...": overlay})`, in pixels."""
    scores = boxes["scores"].tolist() if "scores" in boxes else [None] * len(boxes["labels"])
    entries = []
    for (left, top, right, bottom), label, score in zip(
        boxes["boxes"].tolist(), boxes["labels"].tolist(), scores, strict=True
    ):
        entry: dict[str, Any] = {
            "position": {"minX": left, "minY": top, "maxX": right, "maxY": bottom},
            "domain": "pixel",
            "class_id": int(label),
            "box_caption": _caption(class_names[label], score),
        }
        entries.append(entry if score is None else entry | {"scores": {"score": score}})
    return {"box_data": entries, "class_labels": dict(enumerate(class_names))}
