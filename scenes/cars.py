"""Draws cars: along the road (front or rear towards the camera, in perspective) and across it (from the side)."""

from dataclasses import dataclass
from random import Random
from typing import Final

from ivif.scenes.backdrop import DISC
from ivif.scenes.draw import Canvas
from ivif.scenes.figures import Stand
from ivif.scenes.layout import Item, Scene
from ivif.scenes.palette import HEADLIGHT, PAINTS, TAILLIGHT, Material, dimmed

LENGTH: Final = 4.2
HALF: Final = 0.88
FLOOR: Final = 0.24


@dataclass(frozen=True, slots=True)
class _Coat:
    """Indices of a car's surfaces."""

    paint: int
    shade: int
    top: int
    glass: int
    tyre: int
    rim: int
    dark: int
    engine: int


def draw_under(canvas: Canvas, scene: Scene, item: Item) -> None:
    """Ground under a car: dark in the visible, and warm in the infrared where the engine runs. Belongs to no object."""
    heat = canvas.conditions.heat
    warm = heat.road + (26 if item.active else -10)
    patch = canvas.pick(Material((44, 44, 48), warm, grain=40, mottle=30, ground=True), item.z)
    across, along = (2.2, 0.85) if item.kind == "side" else (1.0, LENGTH / 2 + 0.15)
    center = 0.0 if item.kind == "side" else LENGTH / 2
    canvas.world([(item.x + a * across, 0, item.z + center + b * along) for a, b in DISC], patch)
    shift, far = -0.9 * scene.sun, item.z + (1.2 if item.kind == "side" else LENGTH + 0.4)
    left, right = item.x - across, item.x + across
    canvas.cast([(left, item.z), (right, item.z), (right + shift, far), (left + shift, far)], 0.8)


def _coat(canvas: Canvas, item: Item, rng: Random) -> _Coat:
    heat, z, paint = canvas.conditions.heat, item.z, rng.choice(PAINTS)
    body = heat.car + (24 if item.active else -12) + rng.uniform(-10, 10)
    engine = heat.engine if item.active else body + 4

    def pick(color: tuple[int, int, int], warmth: float, grain: int = 0) -> int:
        return canvas.pick(Material(color, warmth, grain=grain), z)

    return _Coat(
        paint=pick(paint, body, 12),
        shade=pick(dimmed(paint, 0.72), body - 5, 12),
        top=pick(dimmed(paint, 1.12), body - 18, 12),
        glass=pick((40, 48, 58), heat.glass + (18 if item.active else -8)),
        tyre=pick((26, 26, 28), heat.tyre if item.active else body - 8),
        rim=pick((138, 140, 146), heat.tyre - 40 if item.active else body - 4),
        dark=pick((30, 30, 34), engine if item.kind == "front" else body + (52 if item.active else 0)),
        engine=pick(dimmed(paint, 0.98), 0.45 * body + 0.55 * engine, 12),
    )


def draw_car(canvas: Canvas, scene: Scene, item: Item) -> None:
    """A car along the road (`front`, `rear`) or across it (`side`)."""
    del scene
    rng = Random(item.seed)
    coat = _coat(canvas, item, rng)
    if item.kind == "side":
        _profile(canvas, item, coat)
        return
    roof, belt = rng.choice(((1.45, 0.92), (1.45, 0.92), (1.7, 1.02), (1.95, 1.1)))
    hood = 1.15 if item.kind == "front" else (0.12 if roof > 1.5 else 0.65)
    trunk = 0.5 if item.kind == "front" else 1.2
    _flank(canvas, item, coat, (roof, belt, hood, trunk))
    _upper(canvas, item, coat, (roof, belt, hood, trunk))
    _face(canvas, item, coat, belt)


def _flank(canvas: Canvas, item: Item, coat: _Coat, form: tuple[float, float, float, float]) -> None:
    roof, belt, hood, trunk = form
    column = canvas.camera.project(item.x, 0, item.z)[0]
    side = -1 if column > canvas.camera.center else 1
    x, near, far = item.x + side * HALF, item.z, item.z + LENGTH
    canvas.world([(x, FLOOR, near), (x, FLOOR, far), (x, belt, far), (x, belt - 0.06, near)], coat.shade)
    inner = item.x + side * (HALF - 0.14)
    front, back = near + hood, far - trunk
    cabin = [(x, belt, front), (x, belt, back), (inner, roof, back - 0.4), (inner, roof, front + 0.5)]
    canvas.world(cabin, coat.shade)
    pane = item.x + side * (HALF - 0.05)
    low, high = belt + 0.06, roof - 0.1
    canvas.world(
        [(pane, low, front + 0.3), (pane, low, back - 0.25), (pane, high, back - 0.55), (pane, high, front + 0.7)],
        coat.glass,
    )
    for center in (near + 0.75, far - 0.8):
        for radius, index in ((0.34, coat.tyre), (0.19, coat.rim)):
            canvas.world([(x, 0.33 + radius * b, center + radius * a) for a, b in DISC], index)


def _upper(canvas: Canvas, item: Item, coat: _Coat, form: tuple[float, float, float, float]) -> None:
    roof, belt, hood, trunk = form
    left, right, near, far = item.x - HALF, item.x + HALF, item.z, item.z + LENGTH
    inset = 0.14
    canvas.world(
        [
            (left + inset, roof, near + hood + 0.5),
            (right - inset, roof, near + hood + 0.5),
            (right - inset, roof, far - trunk - 0.4),
            (left + inset, roof, far - trunk - 0.4),
        ],
        coat.top,
    )
    foot = [(left, belt, near + hood), (right, belt, near + hood)]
    head = [(right - inset, roof, near + hood + 0.5), (left + inset, roof, near + hood + 0.5)]
    canvas.world([*foot, *head], coat.paint)
    pane = [(left + 0.12, belt + 0.05, near + hood + 0.02), (right - 0.12, belt + 0.05, near + hood + 0.02)]
    edge = [
        (right - inset - 0.08, roof - 0.09, near + hood + 0.47),
        (left + inset + 0.08, roof - 0.09, near + hood + 0.47),
    ]
    canvas.world([*pane, *edge], coat.glass)
    lid = coat.engine if item.kind == "front" else coat.top
    canvas.world(
        [(left, belt - 0.08, near), (right, belt - 0.08, near), (right, belt, near + hood), (left, belt, near + hood)],
        lid,
    )


def _face(canvas: Canvas, item: Item, coat: _Coat, belt: float) -> None:
    stand = Stand(canvas, Item(item.kind, item.x, item.z, 1, item.active, item.seed))
    top = belt - 0.07
    for side in (-1, 1):
        stand.shape([(side * 0.84, 0.0), (side * 0.58, 0.0), (side * 0.58, 0.4), (side * 0.84, 0.4)], coat.tyre)
    stand.shape(
        [(-HALF, FLOOR), (HALF, FLOOR), (HALF, top - 0.05), (0.8, top), (-0.8, top), (-HALF, top - 0.05)], coat.paint
    )
    stand.shape([(-HALF, FLOOR - 0.03), (HALF, FLOOR - 0.03), (HALF, 0.4), (-HALF, 0.4)], coat.dark)
    conditions, front = canvas.conditions, item.kind == "front"
    if front:
        stand.shape([(-0.46, 0.44), (0.46, 0.44), (0.5, top - 0.12), (-0.5, top - 0.12)], coat.dark)
    plate = stand.pick((236, 234, 220), conditions.heat.car + 6)
    stand.shape([(-0.25, 0.43), (0.25, 0.43), (0.25, 0.55), (-0.25, 0.55)], plate)
    shining = item.active and conditions.lit
    color = HEADLIGHT if front else TAILLIGHT
    glow = color if shining else (0, 0, 0)
    heat = 236.0 if shining and front else conditions.heat.car + 30
    light = stand.pick(color if front else (170, 22, 20), heat, glow)
    for side in (-1, 1):
        if front:
            stand.disc((side * 0.66, top - 0.17), (0.17, 0.095), light)
        else:
            stand.shape(
                [
                    (side * 0.86, top - 0.08),
                    (side * 0.6, top - 0.1),
                    (side * 0.62, top - 0.26),
                    (side * 0.86, top - 0.27),
                ],
                light,
            )


def _profile(canvas: Canvas, item: Item, coat: _Coat) -> None:
    stand = Stand(canvas, item)
    body = ((-2.1, 0.3), (-2.12, 0.7), (-1.95, 0.92), (-1.3, 0.97), (-0.75, 1.4), (0.55, 1.42), (1.15, 0.98))
    stand.shape([*body, (1.9, 0.86), (2.12, 0.62), (2.12, 0.3)], coat.paint)
    stand.shape([(0.95, 0.36), (2.0, 0.4), (2.02, 0.68), (1.85, 0.84), (1.15, 0.93)], coat.engine)
    stand.shape([(-1.12, 0.99), (-0.68, 1.32), (-0.12, 1.33), (-0.12, 0.99)], coat.glass)
    stand.shape([(-0.02, 0.99), (-0.02, 1.33), (0.5, 1.34), (0.98, 0.99)], coat.glass)
    stand.shape([(-2.1, 0.26), (2.1, 0.26), (2.08, 0.4), (-2.08, 0.4)], coat.shade)
    for center in (-1.32, 1.32):
        stand.disc((center, 0.34), (0.36, 0.34), coat.tyre)
        stand.disc((center, 0.34), (0.2, 0.19), coat.rim)
    shining = item.active and canvas.conditions.lit
    for right, color, warm in ((2.0, HEADLIGHT, 230.0), (-2.02, TAILLIGHT, canvas.conditions.heat.car + 30)):
        light = stand.pick(
            color if shining else dimmed(color, 0.8),
            warm if shining else canvas.conditions.heat.car,
            color if shining else (0, 0, 0),
        )
        stand.shape([(right - 0.1, 0.64), (right + 0.1, 0.64), (right + 0.1, 0.8), (right - 0.1, 0.8)], light)
