"""Draws what objects stand before: skyline, ground, road paint, buildings with windows, trees, signs and signals."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from ivif.scenes.draw import Canvas, Point
from ivif.scenes.layout import Building, Item, Scene
from ivif.scenes.palette import (
    AWNINGS,
    FOLIAGE,
    ROOFS,
    SIGNS,
    WALLS,
    WINDOWLIGHT,
    Color,
    Material,
    dimmed,
)

STEPS: Final = (1.3, 2.2, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0, 45.0, 70.0, 120.0)
"""Distances in metres at which the borders of the ground are sampled (the road may bend)."""
FLOOR: Final = 3.2
ASPHALT: Final[Color] = (104, 104, 108)
PAINT: Final[Color] = (232, 232, 226)


def draw_backdrop(canvas: Canvas, scene: Scene) -> None:
    """Draws skyline, ground and buildings; what stands on the ground comes after, far to near."""
    rng = Random(scene.seed)
    _skyline(canvas, rng)
    _ground(canvas, scene, rng)
    _markings(canvas, scene)
    for building in scene.buildings:
        _building(canvas, scene, building)


def _skyline(canvas: Canvas, rng: Random) -> None:
    camera, (_, width) = canvas.camera, canvas.size
    heat = canvas.conditions.heat
    x = -0.05 * width
    while x < width:
        step = rng.uniform(0.05, 0.16) * width
        tall = rng.uniform(5.0, 34.0) * rng.random() + 4.0
        top = camera.horizon - camera.scale(190.0) * tall
        index = canvas.pick(Material((124, 128, 136), heat.wall - 12, mottle=60), 190.0)
        canvas.polygon([(x, top), (x + step, top), (x + step, camera.horizon + 2), (x, camera.horizon + 2)], index)
        x += step
    crown = canvas.pick(Material((66, 92, 60), heat.foliage, mottle=160), 130.0)
    radius = 0.02 * width
    for number in range(44):
        center = (width * (number + rng.random()) / 44, camera.horizon)
        canvas.ellipse(center, (radius * rng.uniform(0.7, 1.3), camera.scale(130.0) * rng.uniform(2.0, 5.5)), crown)


def _strip(canvas: Canvas, left: float, right: float, index: int) -> None:
    camera = canvas.camera
    border = [camera.project(left, 0.0, z) for z in STEPS] + [camera.project(right, 0.0, z) for z in reversed(STEPS)]
    canvas.polygon(border, index)


def _ground(canvas: Canvas, scene: Scene, rng: Random) -> None:
    heat, road = canvas.conditions.heat, scene.road
    height, width = canvas.size
    grass = canvas.pick(Material((92, 112, 66), heat.grass, grain=120, mottle=150, ground=True), 0.0)
    canvas.polygon([(0, canvas.camera.horizon), (width, canvas.camera.horizon), (width, height), (0, height)], grass)
    tone = rng.uniform(0.9, 1.12)
    paving = canvas.pick(Material(dimmed((158, 154, 148), tone), heat.paving, (0, 0, 0), 70, 50, ground=True), 0.0)
    curb = canvas.pick(Material((188, 186, 180), heat.paving + 8, (0, 0, 0), 40, 20, ground=True), 0.0)
    asphalt = canvas.pick(Material(dimmed(ASPHALT, tone), heat.road, (0, 0, 0), 80, 60, ground=True), 0.0)
    _strip(canvas, road.left_end, road.right_end, paving)
    _strip(canvas, road.left - 0.18, road.right + 0.18, curb)
    _strip(canvas, road.left, road.right, asphalt)
    # Tyres warm and polish their tracks: darker in the visible, brighter in the infrared.
    track = canvas.pick(Material(dimmed(ASPHALT, tone * 0.92), heat.road + 5, (0, 0, 0), 80, 60, ground=True), 0.0)
    for lane in (road.center, *road.lines):
        for offset in (0.85, 2.25):
            if lane + offset + 0.3 < road.right:
                _strip(canvas, lane + offset - 0.22, lane + offset + 0.22, track)


def _markings(canvas: Canvas, scene: Scene) -> None:
    road, heat = scene.road, canvas.conditions.heat
    white = canvas.pick(Material(PAINT, heat.road - 4, grain=40, mottle=30, ground=True), 0.0)
    yellow = canvas.pick(Material((226, 178, 60), heat.road - 4, grain=40, mottle=30, ground=True), 0.0)
    for edge in (road.left + 0.25, road.right - 0.25):
        _strip(canvas, edge - 0.06, edge + 0.06, white)
    for offset in (-0.16, 0.16):
        _strip(canvas, road.center + offset - 0.06, road.center + offset + 0.06, yellow)
    for line in road.lines:
        for number in range(12):
            z = 2.0 + 5.0 * number
            _quad(canvas, line - 0.07, line + 0.07, z, z + 2.4, white)
    if road.crossing is not None:
        z = road.crossing
        asphalt = canvas.pick(Material(ASPHALT, heat.road, grain=80, mottle=60, ground=True), 0.0)
        _quad(canvas, road.left, road.right, z - 1.9, z + 1.9, asphalt)
        stripe = road.left + 0.35
        while stripe < road.right - 0.5:
            _quad(canvas, stripe, stripe + 0.5, z - 1.6, z + 1.6, white)
            stripe += 0.95
        for line in (z - 2.8,):
            _quad(canvas, road.center + 0.3, road.right - 0.3, line - 0.2, line + 0.2, white)


def _quad(canvas: Canvas, left: float, right: float, near: float, far: float, index: int) -> None:
    canvas.world([(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)], index)


def _building(canvas: Canvas, scene: Scene, building: Building) -> None:
    rng, heat = Random(building.seed), canvas.conditions.heat
    color = rng.choice(WALLS)
    warmth = heat.wall + rng.uniform(-16.0, 14.0)
    lit_side = scene.sun != building.side
    x, side, top = building.x, building.side, building.height
    bays = max(2, round((building.far - building.near) / 3.6))
    depth = (building.far - building.near) / bays
    end = Material(dimmed(color, 0.72 if lit_side else 0.95), warmth - 5, grain=30, mottle=50)
    face = Material(dimmed(color, 0.95 if lit_side else 0.7), warmth + (4 if lit_side else -4), grain=30, mottle=50)
    near = building.near
    if near > 3.0:
        index = canvas.pick(end, near)
        canvas.world([(x, 0, near), (x + 9 * side, 0, near), (x + 9 * side, top, near), (x, top, near)], index)
        if top < 7.0:
            roof = canvas.pick(Material(rng.choice(ROOFS), warmth - 22, grain=60, mottle=70), near)
            canvas.world(
                [(x - 0.4 * side, top, near), (x + 9.4 * side, top, near), (x + 4.5 * side, top + 2.6, near)], roof
            )
    for bay in reversed(range(bays)):
        z = building.near + depth * bay
        if z + depth > 1.5:
            index = canvas.pick(face, z + 0.5 * depth)
            canvas.world([(x, 0, z), (x, 0, z + depth), (x, top, z + depth), (x, top, z)], index)
            _bay(canvas, building, z, depth, rng)
    if top < 7.0:
        roof = canvas.pick(Material(rng.choice(ROOFS), warmth - 18, grain=60, mottle=90), near + 3)
        far, ridge = building.far, (x + 4.5 * side, top + 2.6)
        canvas.world(
            [(x - 0.4 * side, top - 0.12, near), (x - 0.4 * side, top - 0.12, far), (*ridge, far), (*ridge, near)], roof
        )


def _bay(canvas: Canvas, building: Building, z: float, depth: float, rng: Random) -> None:
    conditions, x, floors = canvas.conditions, building.x, int(building.height / FLOOR)
    heat = conditions.heat
    dark = canvas.pick(Material((58, 68, 82), heat.glass), z)
    light = rng.choice(WINDOWLIGHT)
    lit = canvas.pick(Material(dimmed(light, 0.8), heat.glass + 34, dimmed(light, rng.uniform(0.3, 0.72))), z)
    # Windows thinner than a sample only flicker: far bays are left plain.
    if canvas.camera.scale(z) * abs(x) * depth / (z + depth) < 2.0:
        return
    for floor in range(floors):
        shop = floor == 0 and building.height > 7.0
        low, high = (0.3, 2.5) if shop else (FLOOR * floor + 0.95, FLOOR * floor + 2.45)
        margin = depth * (0.12 if shop else 0.27)
        share = conditions.windows * (1.7 if shop else 1.0)
        index = lit if rng.random() < share else dark
        near, far = z + margin, z + depth - margin
        canvas.world([(x, low, near), (x, low, far), (x, high, far), (x, high, near)], index)
        if shop and rng.random() < 0.6:
            index = canvas.pick(Material(rng.choice(AWNINGS), heat.wall, grain=20), z)
            out = x - 0.7 * building.side
            canvas.world(
                [(x, 3.1, z + 0.1), (x, 3.1, z + depth - 0.1), (out, 2.55, z + depth - 0.1), (out, 2.55, z + 0.1)],
                index,
            )


def _tree(canvas: Canvas, scene: Scene, item: Item) -> None:
    rng, heat = Random(item.seed), canvas.conditions.heat
    camera, scale = canvas.camera, canvas.camera.scale(item.z)
    radius, crown = rng.uniform(1.3, 2.3), rng.uniform(3.4, 4.6)
    trunk = canvas.pick(Material((86, 66, 50), heat.foliage + 10, grain=60, mottle=60), item.z)
    canvas.world([(item.x + x, y, item.z) for x, y in ((-0.16, 0), (0.16, 0), (0.11, crown), (-0.11, crown))], trunk)
    color = rng.choice(FOLIAGE)
    shades = ((0.6, -8.0), (0.85, 0.0), (1.12, 7.0))
    leaves = [
        canvas.pick(Material(dimmed(color, shade), heat.foliage + warmer, (0, 0, 0), 110, 190), item.z)
        for shade, warmer in shades
    ]
    clumps = 15 if scale * radius > 10 else 8
    for number in range(clumps):
        level = min(2, 3 * number // clumps)
        across = rng.uniform(-0.75, 0.75) + 0.18 * level * scene.sun
        up = rng.uniform(-0.6, 0.5) + 0.16 * level
        size = radius * rng.uniform(0.3, 0.55) * (1.25 - 0.3 * level)
        center = camera.project(item.x + radius * across, crown + 0.9 * radius * up, item.z)
        canvas.ellipse(center, (scale * size, scale * size * 0.86), leaves[level])
    shift = -2.6 * scene.sun
    canvas.cast([(item.x + radius * a + shift, item.z + radius * b * 1.6 + 0.8) for a, b in DISC], 0.8)


def _sign(canvas: Canvas, scene: Scene, item: Item) -> None:
    rng, heat = Random(item.seed), canvas.conditions.heat
    scale, post = canvas.camera.scale(item.z), rng.uniform(2.3, 2.8)
    _post(canvas, scene, item, post)
    # Plate and writing have one temperature: the infrared cannot read signs.
    plate = canvas.pick(Material(rng.choice(SIGNS), heat.metal + 6), item.z)
    mark = canvas.pick(Material((244, 244, 244), heat.metal + 6), item.z)
    column, row = canvas.camera.project(item.x, post, item.z)
    size = 0.42 * scale

    def outline(points: Sequence[Point], factor: float, index: int) -> None:
        canvas.polygon([(column + size * factor * a, row + size * factor * b) for a, b in points], index)

    shape = rng.choice(("disc", "triangle", "board"))
    if shape == "disc":
        outline(DISC, 1.0, mark)
        outline(DISC, 0.88, plate)
        outline(((-0.55, -0.15), (0.55, -0.15), (0.55, 0.15), (-0.55, 0.15)), 1.0, mark)
    elif shape == "triangle":
        outline(((0, -1), (0.95, 0.7), (-0.95, 0.7)), 1.15, plate)
        outline(((0, -1), (0.95, 0.7), (-0.95, 0.7)), 0.7, mark)
    else:
        outline(((-1.7, -0.8), (1.7, -0.8), (1.7, 0.8), (-1.7, 0.8)), 1.0, mark)
        outline(((-1.7, -0.8), (1.7, -0.8), (1.7, 0.8), (-1.7, 0.8)), 0.92, plate)
        for line in (-0.4, 0.0, 0.4):
            right = rng.uniform(0.2, 1.2)
            outline(((-1.2, line - 0.08), (right, line - 0.08), (right, line + 0.08), (-1.2, line + 0.08)), 1.0, mark)


def _signal(canvas: Canvas, scene: Scene, item: Item) -> None:
    rng, heat = Random(item.seed), canvas.conditions.heat
    _post(canvas, scene, item, 3.0)
    scale, (column, row) = canvas.camera.scale(item.z), canvas.camera.project(item.x, 3.1, item.z)
    body = canvas.pick(Material((34, 38, 36), heat.metal + 14), item.z)
    canvas.polygon(
        [
            (column + scale * a, row + scale * b)
            for a, b in ((-0.19, -0.55), (0.19, -0.55), (0.19, 0.55), (-0.19, 0.55))
        ],
        body,
    )
    shown = rng.randrange(3)
    for number, color in enumerate(((255, 40, 30), (255, 180, 40), (40, 240, 130))):
        glow = color if number == shown else (0, 0, 0)
        lamp = Material(dimmed(color, 0.35), heat.metal + (70 if number == shown else 14), glow)
        canvas.ellipse(
            (column, row + scale * 0.34 * (number - 1)), (scale * 0.13, scale * 0.13), canvas.pick(lamp, item.z)
        )


def _post(canvas: Canvas, scene: Scene, item: Item, height: float) -> None:
    material = Material((118, 122, 126), canvas.conditions.heat.metal)
    ends = [canvas.camera.project(item.x, y, item.z) for y in (0.0, height)]
    canvas.stroke(ends, 0.09 * canvas.camera.scale(item.z), canvas.pick(material, item.z))
    cast_post(canvas, scene, item, height)


def cast_post(canvas: Canvas, scene: Scene, item: Item, height: float) -> None:
    """Casts the shadow of an upright of `height` metres."""
    shift = -0.75 * height * scene.sun
    x, z = item.x, item.z
    canvas.cast(
        [(x - 0.06, z), (x + 0.06, z), (x + shift + 0.06, z + 0.3 * height), (x + shift - 0.06, z + 0.3 * height)], 0.7
    )


DISC: Final = (
    (1.0, 0.0), (0.87, 0.5), (0.5, 0.87), (0.0, 1.0), (-0.5, 0.87), (-0.87, 0.5),
    (-1.0, 0.0), (-0.87, -0.5), (-0.5, -0.87), (0.0, -1.0), (0.5, -0.87), (0.87, -0.5),
)  # fmt: skip
"""Twelve points on the unit circle."""

FURNITURE: Final[dict[str, Callable[[Canvas, Scene, Item], None]]] = {"tree": _tree, "sign": _sign, "signal": _signal}
"""What stands beside the road and is not labelled."""
