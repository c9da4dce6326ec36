"""What is where: draws the camera, the road, its sides and the objects of one scene, in metres."""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from ivif.scenes.draw import Camera
from ivif.scenes.palette import CONDITIONS, Conditions

LANE: Final = 3.3
FARTHEST: Final = 46.0
"""Distance in metres beyond which no object is placed."""


@dataclass(frozen=True, slots=True)
class Road:
    """Road edges (x in metres), where the pavements end, the centre line, lane lines and an optional zebra crossing."""

    left: float
    right: float
    left_end: float
    right_end: float
    center: float
    lines: tuple[float, ...]
    crossing: float | None


@dataclass(frozen=True, slots=True)
class Building:
    """A block beside the road: facade at `x`, from `near` to `far`; `side` -1 left, 1 right."""

    x: float
    near: float
    far: float
    height: float
    side: int
    seed: int


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that stands at (x, z): `kind` says what, `facing` -1 or 1 which way, `active` whether warm or lit."""

    kind: str
    x: float
    z: float
    facing: int
    active: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a renderer needs to know.

    `sun` is the side the light comes from (-1 left, 1 right); `gain` and `level` are the infrared sensor's settings.
    """

    conditions: Conditions
    camera: Camera
    road: Road
    buildings: tuple[Building, ...]
    items: tuple[Item, ...]
    sun: int
    wet: bool
    gain: float
    level: float
    seed: int


def compose(rng: Random, time: str, size: tuple[int, int]) -> Scene:
    """Composes a scene; the same generator state and aspect ratio give the same scene at any resolution.

    Args:
        rng: Source of all choices.
        time: One of `TIMES`.
        size: Height and width of the image, in pixels.
    """
    conditions = _vary(rng, CONDITIONS[time])
    camera = _camera(rng, size)
    road = _road(rng)
    kinds = {side: rng.choice(("street", "street", "park", "houses")) for side in (-1, 1)}
    buildings = [building for side in (-1, 1) for building in _buildings(rng, road, side, kinds[side])]
    placer = _Placer(rng, camera, size[1])
    items = [*_furniture(rng, road, kinds, conditions), *_traffic(placer, road), *_people(placer, road)]
    return Scene(
        conditions=conditions,
        camera=camera,
        road=road,
        buildings=tuple(sorted(buildings, key=lambda building: -building.far)),
        items=tuple(sorted(items, key=lambda item: -item.z)),
        sun=rng.choice((-1, 1)),
        wet=time in ("night", "dusk") and rng.random() < 0.4,
        gain=rng.uniform(0.95, 1.35),
        level=rng.uniform(-14.0, 12.0),
        seed=rng.getrandbits(32),
    )


def _vary(rng: Random, conditions: Conditions) -> Conditions:
    """No two evenings are equally dark, no two fogs equally thick."""
    bright = rng.uniform(0.72, 1.12)
    red, green, blue = (channel * bright for channel in conditions.ambient)
    return replace(
        conditions,
        ambient=(red, green, blue),
        visibility=conditions.visibility * rng.uniform(0.55, 1.1),
        sun=conditions.sun * bright,
    )


def _camera(rng: Random, size: tuple[int, int]) -> Camera:
    height, width = size
    raised = rng.random() < 0.2
    return Camera(
        focal=rng.uniform(0.84, 1.0) * (height * width) ** 0.5,
        height=rng.uniform(2.8, 3.8) if raised else rng.uniform(1.45, 2.1),
        center=width * rng.uniform(0.4, 0.6),
        horizon=height * (rng.uniform(0.32, 0.38) if raised else rng.uniform(0.4, 0.48)),
        bend=rng.choice((0.0, 0.0, 0.0008, -0.0008)) * rng.uniform(0.5, 1.2),
    )


def _road(rng: Random) -> Road:
    oncoming, own = rng.choice((1, 1, 2)), rng.choice((1, 1, 2))
    center = -LANE / 2 if rng.random() < 0.75 else rng.uniform(-0.5, 0.8)
    left, right = center - LANE * oncoming - 0.3, center + LANE * own + 0.3
    return Road(
        left=left,
        right=right,
        left_end=left - rng.uniform(2.0, 3.4),
        right_end=right + rng.uniform(2.0, 3.4),
        center=center,
        lines=tuple(center + LANE * lane for lane in range(1 - oncoming, own) if lane),
        crossing=rng.uniform(7.5, 15.0) if rng.random() < 0.4 else None,
    )


def _buildings(rng: Random, road: Road, side: int, kind: str) -> list[Building]:
    if kind == "park":
        return []
    edge = road.left_end if side < 0 else road.right_end
    buildings, near = [], rng.uniform(2.0, 9.0)
    while near < 105.0:
        length = rng.uniform(9.0, 17.0)
        setback = rng.uniform(0.2, 1.2) if kind == "street" else rng.uniform(2.5, 5.0)
        height = rng.uniform(7.0, 22.0) if kind == "street" else rng.uniform(4.5, 6.5)
        buildings.append(Building(edge + side * setback, near, near + length, height, side, rng.getrandbits(32)))
        near += length + (rng.uniform(0.0, 3.0) if kind == "street" else rng.uniform(3.0, 8.0))
    return buildings


def _furniture(rng: Random, road: Road, kinds: dict[int, str], conditions: Conditions) -> list[Item]:
    items = []
    lamp_side, style = rng.choice((-1, 1)), rng.choice(("lamp", "lamp", "globe"))
    for side in (-1, 1):
        edge, end = (road.left, road.left_end) if side < 0 else (road.right, road.right_end)
        z, spacing = rng.uniform(5.0, 12.0), rng.uniform(10.0, 17.0)
        while side == lamp_side and z < FARTHEST:
            lit = conditions.lit and rng.random() < 0.94
            items.append(Item(style, edge + side * 0.5, z, -side, lit, rng.getrandbits(32)))
            z += spacing
        z = rng.uniform(6.0, 14.0)
        while z < 70.0:
            x = end + side * rng.uniform(0.5, 5.0) if kinds[side] == "park" else end - side * rng.uniform(0.2, 0.5)
            if kinds[side] == "park" or rng.random() < 0.35:
                items.append(Item("tree", x, z, 1, active=False, seed=rng.getrandbits(32)))
            z += rng.uniform(2.6, 6.0) if kinds[side] == "park" else rng.uniform(6.0, 10.0)
        if rng.random() < 0.75:
            kind = rng.choice(("sign", "sign", "signal"))
            at = road.crossing + 0.7 if road.crossing and kind == "signal" else rng.uniform(8.0, 22.0)
            items.append(Item(kind, edge + side * 0.8, at, -side, conditions.lit, rng.getrandbits(32)))
    return items


class _Placer:
    """Places objects inside the view, apart from each other, by trying a few times."""

    def __init__(self, rng: Random, camera: Camera, width: int) -> None:
        self.rng = rng
        self._camera = camera
        self._width = width
        self._taken: list[tuple[float, float, float]] = []

    def distance(self, nearest: float, farthest: float = FARTHEST) -> float:
        """A distance in metres, near ones more often than far ones."""
        fraction = self.rng.random()
        return nearest + (farthest - nearest) * fraction * fraction

    def place(self, kind: str, across: tuple[float, float], ahead: tuple[float, float], active: bool) -> list[Item]:
        """One item within the ranges of x and z, or none where there is no room in the view."""
        room = 2.4 if kind in ("front", "rear", "side") else 0.55
        for _ in range(8):
            x, z = self.rng.uniform(*across), self.distance(*ahead)
            column = self._camera.project(x, 0.0, z)[0] / self._width
            clear = all(abs(x - a) > 0.5 * (room + r) or abs(z - b) > room + r for a, b, r in self._taken)
            if 0.03 < column < 0.97 and clear:
                self._taken.append((x, z, room))
                return [Item(kind, x, z, self.rng.choice((-1, 1)), active, self.rng.getrandbits(32))]
        return []


def _traffic(placer: _Placer, road: Road) -> list[Item]:
    rng, items = placer.rng, []
    lanes_left = [x for x in (road.center - LANE * 0.5, road.center - LANE * 1.5) if x > road.left]
    lanes_right = [x for x in (road.center + LANE * 0.5, road.center + LANE * 1.5) if x < road.right]
    nearest = 5.0 if road.crossing is None else road.crossing + 2.5
    for _ in range(rng.choice((0, 1, 1, 2))):
        lane = rng.choice(lanes_left)
        items += placer.place("front", (lane - 0.3, lane + 0.3), (max(6.0, nearest), FARTHEST), active=True)
    for _ in range(rng.choice((0, 1, 1, 2))):
        lane = rng.choice(lanes_right)
        items += placer.place("rear", (lane - 0.3, lane + 0.3), (max(6.5, nearest), FARTHEST), active=True)
    if rng.random() < 0.45:
        for _ in range(rng.choice((1, 2, 3))):
            items += placer.place("rear", (road.right - 1.3, road.right - 1.1), (5.5, FARTHEST), active=False)
    if rng.random() < 0.25:
        items += placer.place("side", (road.left + 1, road.right - 1), (13.0, 24.0), active=True)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        across = rng.choice(((road.left_end + 0.9, road.left - 0.3), (road.right + 0.3, road.right_end - 0.9)))
        if rng.random() < 0.55:
            across = (road.left + 0.6, road.right - 0.6)
            items += placer.place("cyclist", across, (5.0, 26.0), active=True)
        else:
            items += placer.place("bicycle", across, (4.5, 18.0), active=False)
    return items


def _people(placer: _Placer, road: Road) -> list[Item]:
    rng, items = placer.rng, []
    for _ in range(rng.choice((0, 1, 2, 2, 3, 4))):
        across = rng.choice(((road.left_end + 0.4, road.left - 0.3), (road.right + 0.3, road.right_end - 0.4)))
        items += placer.place("person", across, (4.2, 38.0), active=True)
    if road.crossing is not None:
        for _ in range(rng.choice((0, 1, 2, 3))):
            depths = (road.crossing - 1.2, road.crossing + 1.2)
            items += placer.place("person", (road.left, road.right), depths, active=True)
    elif rng.random() < 0.35:
        items += placer.place("person", (road.left, road.right), (5.0, 20.0), active=True)
    return items
