"""Camera and canvas: world polygons become an index image at twice the resolution, and that a buffer of surface values.

Everything is drawn once, into one image of indices into a table of materials; both sensors read their values from that
table. The pair is therefore registered by construction, and an object's visible pixels are those that kept its indices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ivif.scenes.palette import Conditions, Material

Point = tuple[float, float]
Bytes = NDArray[np.uint8]

SUPERSAMPLING: Final = 2
NEAREST: Final = 1.2
"""Distance in metres of the near plane."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks along a road; world axes in metres: x right, y up from the ground, z ahead.

    Attributes:
        focal: Focal length in pixels of the finished image.
        height: Height above the ground in metres.
        center: Column of the vanishing point, pixels.
        horizon: Row of the horizon, pixels.
        bend: Sideways shift of the road in metres per squared metre of distance.
    """

    focal: float
    height: float
    center: float
    horizon: float
    bend: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Column and row, in pixels of the finished image, of a world point (distance clamped to the near plane)."""
        distance = max(z, NEAREST)
        scale = self.focal / distance
        return self.center + scale * (x + self.bend * distance * distance), self.horizon + scale * (self.height - y)

    def scale(self, z: float) -> float:
        """Pixels per metre at distance `z`."""
        return self.focal / max(z, NEAREST)


@dataclass(frozen=True, slots=True)
class Surfaces:
    """Surface values per pixel of the finished image, uint8 (H, W, 4) each.

    Attributes:
        reflectance: R, G, B and strength of the mottle.
        emission: R, G, B and strength of the grain.
        thermal: Radiance, visible transmittance to the camera (0 for ground), ground share, sky share.
    """

    reflectance: Bytes
    emission: Bytes
    thermal: Bytes


class Canvas:
    """The index image of one scene, its table of materials, and the layer of shadows.

    Args:
        size: Height and width of the finished image, in pixels.
        camera: Projects world points.
        conditions: Air and temperatures, for what distance does to a surface.
    """

    def __init__(self, size: tuple[int, int], camera: Camera, conditions: Conditions) -> None:
        height, width = size
        self.size = size
        self.camera = camera
        self.conditions = conditions
        self._rows: list[tuple[int, ...]] = []
        self.index = Image.new("I", (width * SUPERSAMPLING, height * SUPERSAMPLING), 0)
        self._pen = ImageDraw.Draw(self.index)
        self.shadow = Image.new("L", (width, height), 0)
        self._shadow_pen = ImageDraw.Draw(self.shadow)
        self.pick(Material((0, 0, 0), 0, sky=True), 0.0)

    @property
    def count(self) -> int:
        """How many indices have been given out; the next one's value."""
        return len(self._rows)

    def pick(self, material: Material, distance: float) -> int:
        """A new index for `material` at `distance` metres; fog pulls its radiance towards that of the air."""
        air = self.conditions.heat.sky_horizon
        through = math.exp(-distance / self.conditions.infrared_visibility)
        heat = material.heat if material.ground or material.sky else air + (material.heat - air) * through
        clear = 0.0 if material.ground else 1.0 if material.sky else math.exp(-distance / self.conditions.visibility)
        self._rows.append(
            (
                *material.color,
                material.mottle,
                *material.glow,
                material.grain,
                min(255, max(0, round(heat))),
                round(255 * clear),
                255 * material.ground,
                255 * material.sky,
            )
        )
        return len(self._rows) - 1

    def polygon(self, points: Sequence[Point], index: int) -> None:
        """Fills a polygon given in pixels of the finished image."""
        self._pen.polygon([(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points], fill=index)

    def ellipse(self, center: Point, radius: Point, index: int) -> None:
        """Fills an ellipse given in pixels of the finished image."""
        (x, y), (across, down) = center, radius
        box = (x - across, y - down, x + across, y + down)
        self._pen.ellipse([edge * SUPERSAMPLING for edge in box], fill=index)

    def ring(self, center: Point, radius: Point, width: float, index: int) -> None:
        """Draws an ellipse's outline, `width` pixels of the finished image thick (at least half a pixel)."""
        (x, y), (across, down) = center, radius
        box = (x - across, y - down, x + across, y + down)
        thickness = max(1, round(width * SUPERSAMPLING))
        self._pen.ellipse([edge * SUPERSAMPLING for edge in box], outline=index, width=thickness)

    def stroke(self, points: Sequence[Point], width: float, index: int) -> None:
        """Draws a thick line through points, `width` pixels of the finished image thick (at least half a pixel)."""
        thickness = max(1, round(width * SUPERSAMPLING))
        self._pen.line([(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points], fill=index, width=thickness)

    def world(self, corners: Sequence[tuple[float, float, float]], index: int) -> None:
        """Fills a polygon given in world metres."""
        self.polygon([self.camera.project(*corner) for corner in corners], index)

    def cast(self, corners: Sequence[tuple[float, float]], depth: float = 1.0) -> None:
        """Casts a shadow on the ground polygon of (x, z) corners in metres; `depth` 0..1 of a full shadow."""
        points = [self.camera.project(x, 0.0, z) for x, z in corners]
        self._shadow_pen.polygon(points, fill=round(255 * depth))

    def span(self, first: int, last: int, box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
        """Which samples inside `box` (pixels of the finished image) have an index `first <= i < last`."""
        left, top, right, bottom = self.clip(box)
        factor = SUPERSAMPLING
        region = self.index.crop((left * factor, top * factor, right * factor, bottom * factor))
        values = np.asarray(region)
        return (values >= first) & (values < last)

    def clip(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """The whole pixels that cover `box`, inside the image; at least one pixel."""
        height, width = self.size
        left = min(width - 1, max(0, math.floor(box[0])))
        top = min(height - 1, max(0, math.floor(box[1])))
        return left, top, max(left + 1, min(width, math.ceil(box[2]))), max(top + 1, min(height, math.ceil(box[3])))

    def surfaces(self) -> Surfaces:
        """Looks up the table and averages every 2x2 samples into one pixel of the finished image."""
        index = np.asarray(self.index)
        table = np.array(self._rows, dtype=np.uint8)
        planes = []
        for part in range(3):
            # Four bytes travel as one 32-bit word: the look-up is the dearest step at this resolution.
            words = np.ascontiguousarray(table[:, 4 * part : 4 * part + 4]).view(np.uint32)[:, 0]
            packed = np.take(words, index).view(np.uint8).reshape(*index.shape, 4)
            planes.append(np.asarray(Image.fromarray(packed, mode="RGBX").reduce(SUPERSAMPLING)))
        return Surfaces(*planes)
