"""Radiometry: what surfaces look like to each sensor, and what the time of day does to light, air and temperatures."""

from dataclasses import dataclass
from typing import Final

Color = tuple[int, int, int]

TIMES: Final = ("day", "night", "dusk", "fog")
"""Every time of day (fog is a day in fog), in the order in which a data set cycles through them."""


@dataclass(frozen=True, slots=True)
class Material:
    """A surface as both sensors see it; all values 0..255.

    Attributes:
        color: Reflectance in the visible (R, G, B).
        heat: Radiance in the infrared.
        glow: Light emitted in the visible (R, G, B).
        grain: Strength of the pixel-sized visible texture.
        mottle: Strength of the coarser texture, which the infrared shows faintly as well.
        ground: Whether it lies on the ground: takes shadows, and its distance follows from the row.
        sky: Whether it is the sky, whose colour and radiance follow from the row.
    """

    color: Color
    heat: float
    glow: Color = (0, 0, 0)
    grain: int = 0
    mottle: int = 0
    ground: bool = False
    sky: bool = False


@dataclass(frozen=True, slots=True)
class Heat:
    """Infrared radiance of the things in a scene, 0..255, before the sensor's gain."""

    sky_top: float
    sky_horizon: float
    road: float
    paving: float
    grass: float
    wall: float
    glass: float
    foliage: float
    metal: float
    person: float
    engine: float
    tyre: float
    car: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """Light, air, temperatures and sensor state at one time of day.

    Attributes:
        name: One of `TIMES`.
        ambient: Light from sun and sky (R, G, B), 1 = full daylight.
        sky_top: Colour of the sky overhead, 0..255.
        sky_horizon: Colour of the sky at the horizon and of the haze, 0..255.
        clouds: How much clouds whiten the sky, 0..1.
        sun: Depth of shadows, 0..1.
        visibility: Distance in metres at which visible contrast has fallen to 1/e.
        infrared_visibility: The same for the infrared.
        lit: Whether lamps and headlights are on.
        windows: Share of windows with light in them.
        bloom: Strength of the glare around lights.
        noise: Standard deviation of the visible sensor's noise, 0..255.
        heat: Radiances.
    """

    name: str
    ambient: tuple[float, float, float]
    sky_top: Color
    sky_horizon: Color
    clouds: float
    sun: float
    visibility: float
    infrared_visibility: float
    lit: bool
    windows: float
    bloom: float
    noise: float
    heat: Heat


CONDITIONS: Final[dict[str, Conditions]] = {
    "day": Conditions(
        name="day",
        ambient=(1.04, 1.0, 0.95),
        sky_top=(92, 146, 214),
        sky_horizon=(206, 222, 236),
        clouds=0.55,
        sun=0.55,
        visibility=320.0,
        infrared_visibility=600.0,
        lit=False,
        windows=0.0,
        bloom=0.0,
        noise=1.5,
        heat=Heat(18, 66, 152, 138, 104, 122, 84, 98, 96, 232, 216, 200, 118),
    ),
    "dusk": Conditions(
        name="dusk",
        ambient=(0.43, 0.36, 0.38),
        sky_top=(50, 62, 112),
        sky_horizon=(238, 154, 96),
        clouds=0.35,
        sun=0.12,
        visibility=260.0,
        infrared_visibility=600.0,
        lit=True,
        windows=0.35,
        bloom=0.75,
        noise=4.0,
        heat=Heat(12, 52, 116, 104, 70, 104, 76, 74, 72, 230, 220, 190, 92),
    ),
    "night": Conditions(
        name="night",
        ambient=(0.060, 0.066, 0.085),
        sky_top=(5, 6, 14),
        sky_horizon=(24, 22, 30),
        clouds=0.1,
        sun=0.0,
        visibility=260.0,
        infrared_visibility=600.0,
        lit=True,
        windows=0.26,
        bloom=1.0,
        noise=7.0,
        heat=Heat(6, 34, 72, 62, 42, 80, 62, 52, 48, 226, 224, 172, 62),
    ),
    "fog": Conditions(
        name="fog",
        ambient=(0.72, 0.74, 0.76),
        sky_top=(176, 182, 187),
        sky_horizon=(186, 190, 193),
        clouds=0.05,
        sun=0.0,
        visibility=24.0,
        infrared_visibility=150.0,
        lit=True,
        windows=0.12,
        bloom=1.15,
        noise=2.5,
        heat=Heat(46, 60, 88, 82, 70, 84, 72, 70, 66, 214, 204, 158, 76),
    ),
}

WALLS: Final[tuple[Color, ...]] = (
    (176, 92, 70),
    (204, 188, 160),
    (150, 150, 156),
    (214, 206, 196),
    (158, 122, 92),
    (190, 164, 118),
    (120, 128, 142),
    (208, 150, 120),
)
ROOFS: Final[tuple[Color, ...]] = ((120, 60, 48), (86, 82, 84), (104, 74, 60))
AWNINGS: Final[tuple[Color, ...]] = ((190, 44, 44), (38, 96, 150), (40, 124, 80), (226, 168, 50))
FOLIAGE: Final[tuple[Color, ...]] = ((58, 98, 44), (76, 112, 46), (48, 86, 52), (98, 118, 48))
CLOTHES: Final[tuple[Color, ...]] = (
    (44, 46, 58),
    (176, 52, 50),
    (52, 88, 150),
    (216, 212, 204),
    (88, 92, 96),
    (206, 164, 70),
    (62, 112, 82),
    (112, 70, 116),
)
TROUSERS: Final[tuple[Color, ...]] = ((42, 52, 84), (34, 34, 38), (110, 100, 84), (74, 78, 86))
SKIN: Final[tuple[Color, ...]] = ((226, 178, 148), (190, 138, 104), (122, 84, 62), (238, 196, 170))
HAIR: Final[tuple[Color, ...]] = ((36, 28, 24), (84, 58, 38), (150, 118, 70), (70, 70, 72))
PAINTS: Final[tuple[Color, ...]] = (
    (206, 208, 212),
    (40, 42, 48),
    (158, 34, 36),
    (44, 72, 126),
    (128, 132, 138),
    (232, 232, 230),
    (196, 164, 78),
    (62, 92, 76),
)
SIGNS: Final[tuple[Color, ...]] = ((30, 84, 180), (206, 36, 36), (238, 190, 32), (28, 130, 76))
LAMPLIGHT: Final[tuple[Color, ...]] = ((255, 196, 120), (255, 238, 208), (222, 236, 255))
WINDOWLIGHT: Final[tuple[Color, ...]] = ((250, 206, 128), (255, 228, 176), (214, 226, 240))
HEADLIGHT: Final[Color] = (255, 250, 232)
TAILLIGHT: Final[Color] = (232, 26, 18)


def dimmed(color: Color, factor: float) -> Color:
    """The colour times `factor`, clamped to 0..255."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in color)
    return red, green, blue
