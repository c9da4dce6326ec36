"""The two cameras: surface values become a visible and an infrared image, with light, air, optics and sensor noise.

Only additions, multiplications and divisions touch pixels, and resampling happens on 8-bit planes (fixed-point), so the
result does not depend on the platform's mathematics library.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from ivif.scenes.draw import Bytes, Canvas, Surfaces
from ivif.scenes.figures import lamp_color, lamp_height
from ivif.scenes.layout import Scene
from ivif.scenes.palette import HEADLIGHT, TAILLIGHT, Color

Plane = NDArray[np.float32]

GLARE: Final = [round(value * value / 255) for value in range(256)] * 3
"""Only what shines brightly glares: windows hardly do, headlights do."""


class Noise:
    """Random bytes of a fixed, platform-independent stream, as planes.

    Args:
        seed: Seed of the stream.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def bytes(self, *shape: int) -> Bytes:
        """Independent uniform bytes."""
        count = int(np.prod(shape))
        words = self._bits.random_raw(-(-count // 8)).astype("<u8")
        flat: Bytes = words.view(np.uint8)[:count]
        return flat.reshape(shape)

    def bell(self, *shape: int) -> Plane:
        """Independent values of mean 0 and standard deviation 1 (triangular: the sum of two bytes)."""
        pair = self.bytes(2, *shape).astype(np.float32)
        total: Plane = pair[0] + pair[1] - np.float32(255.0)
        return total * np.float32(1 / 104.5)

    def clouds(self, size: tuple[int, int], cells: tuple[int, int]) -> Plane:
        """Smooth values in [-1, 1]: two octaves of a random grid of `cells` (down, across) over `size` pixels."""
        height, width = size
        layers = []
        for octave in (1, 3):
            grid = self.bytes(max(2, cells[0] * octave), max(2, cells[1] * octave))
            fine = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
            layers.append(np.asarray(fine).astype(np.float32))
        return (layers[0] * np.float32(2 / 3) + layers[1] * np.float32(1 / 3) - np.float32(127.5)) / np.float32(127.5)


def _rows(values: list[float]) -> Plane:
    return np.array(values, dtype=np.float32)[:, None]


class Sensors:
    """Both sensors over one scene's surfaces.

    Args:
        canvas: The drawn scene.
        scene: Its composition.
    """

    def __init__(self, canvas: Canvas, scene: Scene) -> None:
        self._scene = scene
        self._canvas = canvas
        self._conditions = scene.conditions
        self._surfaces: Surfaces = canvas.surfaces()
        self._noise = Noise(scene.seed)
        height, width = canvas.size
        self._unit = min(height, width) / 256
        cells = (max(2, height * 40 // min(height, width)), max(2, width * 40 // min(height, width)))
        self._mottle = self._noise.clouds(canvas.size, cells)
        self._cloud = self._noise.clouds(canvas.size, (9, 4))
        blurred = canvas.shadow.filter(ImageFilter.BoxBlur(max(1, round(1.2 * self._unit))))
        self._shadow = np.asarray(blurred).astype(np.float32) * np.float32(1 / 255)
        self._ground, self._sky = (self._surfaces.thermal[..., k].astype(np.float32) / 255 for k in (2, 3))
        self._depth = self._row_distances()

    def _row_distances(self) -> list[float]:
        camera = self._canvas.camera
        below = [max(row + 0.5 - camera.horizon, 0.5) for row in range(self._canvas.size[0])]
        return [min(160.0, camera.focal * camera.height / drop) for drop in below]

    def visible(self) -> Bytes:
        """The visible image, uint8 (H, W, 3)."""
        conditions, surfaces = self._conditions, self._surfaces
        height, width = self._canvas.size
        texture = surfaces.reflectance[..., 3] * self._mottle * np.float32(0.0016)
        texture += surfaces.emission[..., 3] * self._noise.bell(height, width) * np.float32(0.0007)
        texture += 1
        texture *= 1 - self._ground * self._shadow * np.float32(conditions.sun)
        light = self._lights() + np.array(conditions.ambient, dtype=np.float32)
        image: Plane = surfaces.reflectance[..., :3] * light
        image *= texture[..., None]
        image += surfaces.emission[..., :3]
        image += self._sky_light()
        self._haze(image)
        if conditions.bloom:
            image += self._bloom()
        image += self._noise.bell(height, width, 3) * np.float32(conditions.noise)
        return np.clip(image, 0, 255).astype(np.uint8)

    def _haze(self, image: Plane) -> None:
        conditions = self._conditions
        clear = _rows([1 / (1 + (z / conditions.visibility) * (1 + z / conditions.visibility)) for z in self._depth])
        through = self._surfaces.thermal[..., 1] * np.float32(1 / 255) + self._ground * clear
        image *= through[..., None]
        image += (1 - through[..., None]) * np.array(conditions.sky_horizon, dtype=np.float32)

    def _sky_light(self) -> Plane:
        conditions, (height, width) = self._conditions, self._canvas.size
        horizon = self._canvas.camera.horizon
        fall = [min(1.0, (row + 0.5) / horizon) for row in range(height)]
        low = _rows([value * value for value in fall])[..., None]
        top, bottom = (np.array(color, dtype=np.float32) for color in (conditions.sky_top, conditions.sky_horizon))
        color = top + (bottom - top) * low
        center = width * (0.5 + 0.32 * self._scene.sun)
        across = np.array([(column - center) / (0.35 * width) for column in range(width)], dtype=np.float32)
        near = 1 / (1 + across * across) * low[..., 0]
        cover = np.clip(self._cloud * np.float32(1.6), 0, 1) * np.float32(conditions.clouds)
        sky = color + (np.float32(0.3) * near[..., None] + cover[..., None] * np.float32(0.9)) * (
            bottom * np.float32(1.1) - color * 0.6
        )
        return np.asarray(sky * self._sky[..., None], dtype=np.float32)

    def _lights(self) -> Plane:
        """Light of lamps and headlights on surfaces, (H, W, 3), 1 = full daylight."""
        height, width = self._canvas.size
        if not self._conditions.lit:
            return np.zeros((1, 1, 3), dtype=np.float32)
        small = (-(-height // 4), -(-width // 4))
        total = np.zeros((*small, 3), dtype=np.float32)
        rows = np.arange(small[0], dtype=np.float32)[:, None] * 4 + 2
        columns = np.arange(small[1], dtype=np.float32)[None] * 4 + 2
        for center, radius, color, strength in self._pools():
            down, across = (
                (rows - np.float32(center[1])) / np.float32(radius[1]),
                (columns - np.float32(center[0])) / np.float32(radius[0]),
            )
            fall = np.float32(strength) / (1 + (down * down + across * across)) ** 2
            total += fall[..., None] * (np.array(color, dtype=np.float32) / 255)
        eight_bit = np.clip(total * 100, 0, 255).astype(np.uint8)
        full = Image.fromarray(eight_bit).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(full).astype(np.float32) * np.float32(0.01)

    def _pools(self) -> list[tuple[tuple[float, float], tuple[float, float], Color, float]]:
        """Centre, radii (pixels), colour and strength of every pool of light."""
        camera, pools = self._canvas.camera, []
        weak = {"night": 1.0, "dusk": 0.45}.get(self._conditions.name, 0.15)
        for item in self._scene.items:
            scale = camera.scale(item.z)
            if item.kind in ("lamp", "globe") and item.active:
                reach = item.x + (1.5 * item.facing if item.kind == "lamp" else 0.0)
                spread = scale * (5.0 if item.kind == "lamp" else 3.6)
                pools.append(
                    (camera.project(reach, 0.0, item.z), (spread, 0.34 * spread), lamp_color(item), 0.85 * weak)
                )
                head = camera.project(reach, lamp_height(item), item.z)
                pools.append((head, (scale * 3.4, scale * 4.4), lamp_color(item), 0.3 * weak))
            elif item.kind == "front" and item.active:
                ahead = max(3.0, item.z - 4.5)
                spread = camera.scale(ahead) * 2.4
                pools.append((camera.project(item.x, 0.0, ahead), (spread, 0.5 * spread), HEADLIGHT, 0.7 * weak))
                if self._scene.wet:
                    pools.append(
                        (camera.project(item.x, 0.0, ahead), (scale * 0.5, scale * 3.4), HEADLIGHT, 0.9 * weak)
                    )
            elif item.kind == "rear" and item.active:
                pools.append(
                    (camera.project(item.x, 0.0, item.z - 0.8), (scale * 1.8, scale * 0.6), TAILLIGHT, 0.5 * weak)
                )
        if camera.height < 2.5:
            height, width = self._canvas.size
            pools.append(((camera.center, 0.9 * height), (0.5 * width, 0.36 * height), HEADLIGHT, 0.3 * weak))
        return pools

    def _bloom(self) -> Plane:
        """Glare around lights: the emitted light, blurred at two scales, (H, W, 3)."""
        height, width = self._canvas.size
        emitted = Image.fromarray(np.ascontiguousarray(self._surfaces.emission[..., :3])).point(GLARE)
        small = emitted.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BOX)
        total = np.zeros((height, width, 3), dtype=np.float32)
        for radius, strength in ((1.6, 1.3), (7.0, 2.6)):
            halo = small.filter(ImageFilter.GaussianBlur(radius * self._unit))
            halo = ImageChops.add(halo, halo, scale=0.5)
            full = halo.resize((width, height), Image.Resampling.BILINEAR)
            total += np.asarray(full).astype(np.float32) * np.float32(0.25 * strength * self._conditions.bloom)
        return total

    def infrared(self) -> Bytes:
        """The infrared image, uint8 (H, W): smooth, slightly blurred, with faint column and pixel noise."""
        heat, conditions = self._conditions.heat, self._conditions
        height, width = self._canvas.size
        surfaces = self._surfaces
        image = surfaces.thermal[..., 0].astype(np.float32)
        image += surfaces.reflectance[..., 3] * self._mottle * np.float32(0.085)
        # Far ground mirrors the cold sky at a grazing angle, and fog covers it.
        through = _rows([1 / (1 + z / conditions.infrared_visibility * 1.6) for z in self._depth])
        image += self._ground * (through - 1) * np.float32(heat.road - heat.sky_horizon)
        image -= self._ground * self._shadow * np.float32(34 * conditions.sun)
        horizon = self._canvas.camera.horizon
        low = _rows([min(1.0, (row + 0.5) / horizon) for row in range(height)])
        sky = heat.sky_top + np.float32(heat.sky_horizon - heat.sky_top) * low * low
        sky = sky + np.clip(self._cloud, 0, 1) * np.float32(45 * conditions.clouds)
        image += self._sky * sky
        image = (image - np.float32(90)) * np.float32(self._scene.gain) + np.float32(90 + self._scene.level)
        soft = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(0.75 * self._unit)
        )
        final = np.asarray(soft).astype(np.float32)
        final += self._noise.bell(1, width) * np.float32(0.7)
        final += self._noise.bell(height, width) * np.float32(1.8)
        return np.clip(final, 0, 255).astype(np.uint8)
