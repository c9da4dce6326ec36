"""From a seed to a registered pair with boxes and a mask."""

from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ivif.scenes.backdrop import FURNITURE, draw_backdrop
from ivif.scenes.cars import draw_car, draw_under
from ivif.scenes.draw import SUPERSAMPLING, Bytes, Canvas
from ivif.scenes.figures import draw_bicycle, draw_lamp, draw_lamp_post, draw_person, draw_rider
from ivif.scenes.layout import Item, Scene, compose
from ivif.scenes.sensors import Sensors

RENDERER_VERSION: Final = 1
"""Part of every content id: raise it with any change that changes a pixel."""

CLASSES: Final = ("person", "car", "bicycle", "lamp")

SMALLEST: Final = 4
"""Objects whose visible extent is narrower or lower than this many pixels are not labelled."""
SHOWN: Final = 0.35
"""Objects of which less than this share (inside the frame) is visible are not labelled."""


@dataclass(frozen=True, slots=True)
class RenderedScene:
    """A registered pair and what is in it.

    Attributes:
        visible: uint8 (H, W, 3), RGB.
        infrared: uint8 (H, W).
        mask: uint8 (H, W), 255 on the labelled warm objects (persons, running cars, lit lamps), else 0.
        boxes: float32 (N, 4), xyxy in pixels: the visible extent.
        labels: int64 (N,), into `CLASSES`.
    """

    visible: Bytes
    infrared: Bytes
    mask: Bytes
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """An object's indices, the image region that holds all of it, and how many samples it had before being covered."""

    label: int
    warm: bool
    first: int
    last: int
    region: tuple[int, int, int, int]
    samples: int


def render_scene(key: str, time: str, size: tuple[int, int]) -> RenderedScene:
    """Renders the scene of `key`.

    Args:
        key: Any text; the same key, time and size give the same bytes on every machine.
        time: One of `TIMES`.
        size: Height and width in pixels, each at least 16.
    """
    scene = compose(Random(key), time, size)
    canvas, drawn = draw_scene(scene, size)
    boxes, labels, mask = annotate(canvas, drawn)
    sensors = Sensors(canvas, scene)
    return RenderedScene(sensors.visible(), sensors.infrared(), mask, boxes, labels)


def annotate_scene(key: str, time: str, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes and labels of the scene that `render_scene` renders, without computing its images."""
    boxes, labels, _ = annotate(*draw_scene(compose(Random(key), time, size), size))
    return boxes, labels


def draw_scene(scene: Scene, size: tuple[int, int]) -> tuple[Canvas, list[Drawn]]:
    """Draws a composed scene, far to near.

    Args:
        scene: What is where; its items are sorted by falling distance.
        size: Height and width in pixels.

    Returns:
        The canvas, and every object that left a sample inside the frame when it was drawn.
    """
    canvas = Canvas(size, scene.camera, scene.conditions)
    draw_backdrop(canvas, scene)
    drawn: list[Drawn] = []
    for item in scene.items:
        _stand(canvas, scene, item, drawn)
    return canvas, drawn


def _stand(canvas: Canvas, scene: Scene, item: Item, drawn: list[Drawn]) -> None:
    if item.kind in FURNITURE:
        FURNITURE[item.kind](canvas, scene, item)
        return
    if item.kind in ("front", "rear", "side"):
        draw_under(canvas, scene, item)
    elif item.kind in ("lamp", "globe"):
        draw_lamp_post(canvas, item)
    first = canvas.count
    if item.kind in ("front", "rear", "side"):
        draw_car(canvas, scene, item)
        label, warm = 1, item.active
    elif item.kind == "person":
        draw_person(canvas, scene, item)
        label, warm = 0, True
    elif item.kind in ("bicycle", "cyclist"):
        draw_bicycle(canvas, scene, item)
        label, warm = 2, False
    else:
        draw_lamp(canvas, item)
        label, warm = 3, item.active
    _note(canvas, item, first, label, warm, drawn)
    if item.kind == "cyclist":
        first = canvas.count
        draw_rider(canvas, scene, item)
        _note(canvas, item, first, 0, warm=True, drawn=drawn)


def _note(canvas: Canvas, item: Item, first: int, label: int, warm: bool, drawn: list[Drawn]) -> None:
    scale, (column, row) = canvas.camera.scale(item.z), canvas.camera.project(item.x, 0.0, item.z)
    across = 3.0 * scale
    region = canvas.clip((column - across, row - 7.0 * scale, column + across, row + 0.3 * scale))
    samples = int(np.count_nonzero(canvas.span(first, canvas.count, region)))
    if samples:
        drawn.append(Drawn(label, warm, first, canvas.count, region, samples))


def annotate(canvas: Canvas, drawn: list[Drawn]) -> tuple[NDArray[np.float32], NDArray[np.int64], Bytes]:
    """Boxes (N, 4), labels (N,) and mask (H, W) of what is still visible on the finished canvas."""
    mask = np.zeros(canvas.size, dtype=np.uint8)
    boxes, labels = [], []
    for thing in drawn:
        shown = canvas.span(thing.first, thing.last, thing.region)
        if np.count_nonzero(shown) < max(1.0, SHOWN * thing.samples):
            continue
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        left, top, _, _ = thing.region
        x_low, x_high = left + columns[0] // SUPERSAMPLING, left + columns[-1] // SUPERSAMPLING + 1
        y_low, y_high = top + rows[0] // SUPERSAMPLING, top + rows[-1] // SUPERSAMPLING + 1
        if min(x_high - x_low, y_high - y_low) < SMALLEST:
            continue
        boxes.append((x_low, y_low, x_high, y_high))
        labels.append(thing.label)
        if thing.warm:
            height, width = shown.shape[0] // SUPERSAMPLING, shown.shape[1] // SUPERSAMPLING
            share = shown.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).sum(axis=(1, 3))
            part = mask[top : top + height, left : left + width]
            part[share * 2 >= SUPERSAMPLING**2] = 255
    return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(labels, dtype=np.int64), mask
