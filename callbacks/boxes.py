"""Boxes drawn on pictures, and handed to W&B as overlays."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

COLORS: Final = ("#ffd400", "#00c8ff", "#ff4fa3", "#5dff57", "#ff8a3c", "#b48cff", "#ffffff", "#ff3b3b")
"""One per class, in turn; bright, because thermal images are grey and streets are dark."""

Boxes = Mapping[str, Tensor]
"""`boxes` (N, 4) xyxy pixels, `labels` (N,), and for detections `scores` (N,)."""


def draw_boxes(picture: Image.Image, boxes: Boxes, class_names: Sequence[str], scale: float = 1.0) -> Image.Image:
    """A copy of a picture with boxes, each with its class and, for detections, its score.

    Args:
        picture: RGB.
        boxes: Objects or detections, in pixels of the unscaled picture.
        class_names: Name of each label.
        scale: Picture pixels per pixel of the boxes.
    """
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    width = max(1, round(min(picture.size) / 160))
    font = ImageFont.load_default(size=max(9, min(picture.size) / 22))
    scores = boxes["scores"].tolist() if "scores" in boxes else [None] * len(boxes["labels"])
    for box, label, score in zip(boxes["boxes"].tolist(), boxes["labels"].tolist(), scores, strict=True):
        left, top, right, bottom = (value * scale for value in box)
        color = COLORS[label % len(COLORS)]
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
        text = class_names[label] if score is None else f"{class_names[label]} {score:.2f}"
        _, ascent, end, descent = draw.textbbox((0, 0), text, font=font)
        above = top - (descent - ascent) - 2 * width
        at = (min(max(0, left), picture.width - end), above if above >= 0 else top + width)
        area = draw.textbbox(at, text, font=font)
        draw.rectangle((area[0] - 1, area[1] - 1, area[2] + 1, area[3] + 1), fill="#000000")
        draw.text(at, text, fill=color, font=font)
    return drawn


def above_score(found: Boxes, threshold: float) -> Boxes:
    """The detections with at least a score."""
    kept = found["scores"] >= threshold
    return {key: value[kept] for key, value in found.items()}


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
            "box_caption": class_names[label] if score is None else f"{class_names[label]} {score:.2f}",
        }
        entries.append(entry if score is None else entry | {"scores": {"score": score}})
    return {"box_data": entries, "class_labels": dict(enumerate(class_names))}
