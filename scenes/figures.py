"""Draws persons, bicycles and riders, and lamps: the labelled objects other than cars."""

from collections.abc import Sequence
from random import Random

from ivif.scenes.draw import Canvas, Point
from ivif.scenes.layout import Item, Scene
from ivif.scenes.palette import CLOTHES, HAIR, LAMPLIGHT, SKIN, TROUSERS, Color, Material, dimmed


class Stand:
    """A local frame of an upright figure: metres right of and above its foot, drawn facing the camera.

    Args:
        canvas: Where to draw.
        item: Where it stands; `facing` mirrors left and right.
        warmth: Multiplies the heat of everything drawn, as thick clothes and old engines do.
    """

    def __init__(self, canvas: Canvas, item: Item, warmth: float = 1.0) -> None:
        self.canvas = canvas
        self._item = item
        self._warmth = warmth
        self._scale = canvas.camera.scale(item.z)
        self._foot = canvas.camera.project(item.x, 0.0, item.z)

    def at(self, right: float, up: float) -> Point:
        """Pixels of a point `right` and `up` metres from the foot."""
        return self._foot[0] + self._item.facing * right * self._scale, self._foot[1] - up * self._scale

    def pick(self, color: Color, heat: float, glow: Color = (0, 0, 0), grain: int = 25) -> int:
        """An index for a part of the figure."""
        return self.canvas.pick(Material(color, min(250.0, heat * self._warmth), glow, grain), self._item.z)

    def shape(self, points: Sequence[Point], index: int) -> None:
        """Fills a polygon in local metres."""
        self.canvas.polygon([self.at(*point) for point in points], index)

    def limb(self, points: Sequence[Point], width: float, index: int) -> None:
        """Draws a thick line in local metres, with round ends where it is thick enough to see them."""
        pixels = [self.at(*point) for point in points]
        self.canvas.stroke(pixels, width * self._scale, index)
        if width * self._scale > 1.5:
            for pixel in pixels:
                self.canvas.ellipse(pixel, (0.5 * width * self._scale, 0.5 * width * self._scale), index)

    def disc(self, center: Point, radius: Point, index: int) -> None:
        """Fills an ellipse in local metres."""
        self.canvas.ellipse(self.at(*center), (radius[0] * self._scale, radius[1] * self._scale), index)

    def ring(self, center: Point, radius: Point, width: float, index: int) -> None:
        """Draws an ellipse's outline in local metres."""
        self.canvas.ring(
            self.at(*center), (radius[0] * self._scale, radius[1] * self._scale), width * self._scale, index
        )


class Outfit:
    """Indices of one person's clothes and skin."""

    def __init__(self, stand: Stand, rng: Random, heat: float) -> None:
        coat, legs = rng.choice(CLOTHES), rng.choice(TROUSERS)
        self.coat = stand.pick(coat, heat * rng.uniform(0.84, 0.93))
        self.sleeve = stand.pick(dimmed(coat, 0.8), heat * rng.uniform(0.8, 0.88))
        self.legs = stand.pick(legs, heat * rng.uniform(0.78, 0.86))
        self.far_leg = stand.pick(dimmed(legs, 0.75), heat * 0.76)
        self.shoes = stand.pick((30, 28, 28), heat * 0.62)
        self.skin = stand.pick(rng.choice(SKIN), heat * 1.02)
        self.hair = stand.pick(rng.choice(HAIR), heat * 0.88)
        self.bag = stand.pick(dimmed(rng.choice(CLOTHES), 0.8), heat * 0.5)


def draw_person(canvas: Canvas, scene: Scene, item: Item) -> None:
    """A standing or walking person."""
    rng = Random(item.seed)
    tall = rng.uniform(1.2, 1.4) if rng.random() < 0.1 else rng.uniform(1.56, 1.86)
    stand = Stand(canvas, item)
    outfit = Outfit(stand, rng, canvas.conditions.heat.person)
    profile, stride = rng.random() < 0.6, rng.uniform(0.09, 0.24)
    hip, neck, wide = 0.5 * tall, 0.83 * tall, (0.14 if profile else 0.2) * tall / 1.7
    step = stride if profile else 0.085
    stand.limb([(-0.03, hip), (-step * 0.55, 0.26 * tall), (-step - 0.02, 0.05)], 0.145, outfit.far_leg)
    stand.limb([(0.03, hip), (step * 0.75, 0.26 * tall), (step, 0.05)], 0.15, outfit.legs)
    for foot in (-step, step):
        stand.limb([(foot - 0.04, 0.035), (foot + (0.12 if profile else 0.03), 0.035)], 0.08, outfit.shoes)
    swing = stride * 0.8 if profile else 0.05
    stand.limb(
        [(-wide, neck - 0.07), (-wide - 0.03 + swing * -0.6, 0.62 * tall), (-wide - swing, 0.5 * tall)],
        0.1,
        outfit.sleeve,
    )
    body = [
        (-wide, neck - 0.03),
        (-0.05, neck),
        (0.05, neck),
        (wide, neck - 0.03),
        (wide * 0.82, hip - 0.05),
        (-wide * 0.82, hip - 0.05),
    ]
    stand.shape(body, outfit.coat)
    if rng.random() < 0.35:
        stand.limb([(-wide - 0.05, neck - 0.14), (-wide - 0.05, neck - 0.42)], 0.17, outfit.bag)
    stand.limb(
        [(wide * 0.8, neck - 0.07), (wide + swing * 0.5, 0.63 * tall), (wide + swing * 0.9, 0.52 * tall)],
        0.1,
        outfit.sleeve,
    )
    stand.disc((wide + swing * 0.9, 0.5 * tall), (0.05, 0.055), outfit.skin)
    _head(stand, outfit, 0.0, 0.925 * tall, profile)
    _shadow(canvas, scene, item, 0.26, tall)


def _head(stand: Stand, outfit: Outfit, right: float, up: float, profile: bool) -> None:
    stand.limb([(right, up - 0.16), (right, up)], 0.09, outfit.skin)
    stand.disc((right, up + 0.03), (0.105, 0.125), outfit.hair)
    stand.disc((right + (0.03 if profile else 0.0), up - 0.015), (0.085, 0.1), outfit.skin)


def _shadow(canvas: Canvas, scene: Scene, item: Item, wide: float, tall: float) -> None:
    shift, x, z = -0.75 * tall * scene.sun, item.x, item.z
    far = z + 0.35 * tall
    canvas.cast([(x - wide, z), (x + wide, z), (x + shift + wide, far), (x + shift - wide, far)], 0.85)


def draw_bicycle(canvas: Canvas, scene: Scene, item: Item) -> None:
    """A bicycle from the side, parked."""
    rng, heat = Random(item.seed), canvas.conditions.heat
    stand = Stand(canvas, item)
    tyre = stand.pick((30, 30, 32), heat.metal + 4)
    frame = stand.pick(rng.choice(CLOTHES[1:]), heat.metal + 14)
    spokes = stand.pick((150, 152, 156), heat.metal + 6)
    for center in (-0.53, 0.53):
        stand.ring((center, 0.34), (0.34, 0.34), 0.055, tyre)
        stand.limb([(center - 0.3, 0.34), (center + 0.3, 0.34)], 0.012, spokes)
        stand.limb([(center, 0.04), (center, 0.64)], 0.012, spokes)
    crank, seat, head, rear, front = (-0.06, 0.3), (-0.2, 0.86), (0.4, 0.82), (-0.53, 0.34), (0.53, 0.34)
    for path in ((rear, crank, head, (-0.17, 0.76), rear), (crank, seat), (front, head, (0.36, 0.98))):
        stand.limb(path, 0.05, frame)
    stand.limb([(0.28, 1.0), (0.46, 1.0)], 0.05, tyre)
    stand.limb([(-0.32, 0.9), (-0.08, 0.9)], 0.08, tyre)
    _shadow(canvas, scene, item, 0.5, 0.9)


def draw_rider(canvas: Canvas, scene: Scene, item: Item) -> None:
    """The rider of a bicycle drawn before at the same place."""
    rng = Random(item.seed + 1)
    stand = Stand(canvas, item)
    outfit = Outfit(stand, rng, canvas.conditions.heat.person)
    hip, shoulder = (-0.18, 0.97), (0.12, 1.42)
    stand.limb([hip, (0.16, 0.78), (-0.06, 0.44)], 0.14, outfit.far_leg)
    stand.limb([hip, (0.24, 0.7), (0.1, 0.2)], 0.14, outfit.legs)
    stand.limb([(0.08, 0.17), (0.2, 0.17)], 0.08, outfit.shoes)
    stand.limb([hip, shoulder], 0.27, outfit.coat)
    stand.limb([shoulder, (0.3, 1.16), (0.4, 1.02)], 0.09, outfit.sleeve)
    _head(stand, outfit, 0.2, 1.63, profile=True)
    _shadow(canvas, scene, item, 0.3, 1.6)


def draw_lamp_post(canvas: Canvas, item: Item) -> None:
    """The post of a lamp, which belongs to no object."""
    stand = Stand(canvas, item)
    post = stand.pick((112, 116, 120), canvas.conditions.heat.metal)
    if item.kind == "globe":
        stand.limb([(0.0, 0.0), (0.0, 3.6)], 0.11, post)
        return
    tall = lamp_height(item)
    stand.limb([(0.0, 0.0), (0.0, tall - 0.3)], 0.13, post)
    stand.limb([(0.0, tall - 0.3), (0.35, tall + 0.05), (1.5, tall + 0.12)], 0.1, post)


def lamp_height(item: Item) -> float:
    """Height of a lamp's head above the ground, in metres."""
    return 3.75 if item.kind == "globe" else 4.6 + (item.seed % 16) / 10


def lamp_color(item: Item) -> Color:
    """The colour of a lamp's light."""
    return LAMPLIGHT[item.seed % len(LAMPLIGHT)]


def draw_lamp(canvas: Canvas, item: Item) -> None:
    """The head of a lamp: a globe on the post or a luminaire at the end of an arm."""
    heat = canvas.conditions.heat
    stand, color, tall = Stand(canvas, item), lamp_color(item), lamp_height(item)
    hood = stand.pick((96, 98, 102), heat.metal + (90 if item.active else 10))
    glow = color if item.active else (0, 0, 0)
    glass = stand.pick(color if item.active else (214, 216, 214), 238 if item.active else heat.metal + 6, glow)
    if item.kind == "globe":
        stand.disc((0.0, tall), (0.3, 0.3), glass)
        stand.shape([(-0.1, tall - 0.26), (0.1, tall - 0.26), (0.07, tall - 0.42), (-0.07, tall - 0.42)], hood)
        return
    stand.shape([(1.0, tall + 0.1), (1.15, tall + 0.3), (1.95, tall + 0.26), (2.1, tall + 0.08)], hood)
    stand.shape([(1.05, tall + 0.11), (2.05, tall + 0.11), (1.9, tall - 0.08), (1.2, tall - 0.08)], glass)
