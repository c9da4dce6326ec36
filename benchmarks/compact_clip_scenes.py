"""What the compact CLIP is trained on: generated scenes as single and fused pictures, and texts about them."""

import random
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Generator, Tensor

from ivif.datamodules.datasets.descriptions import describe
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.color import luma
from ivif.models.prompt_examples import DegradationConfig, blurred, low_contrast, noisy, positive_examples
from ivif.scenes import CLASSES

SIDE: Final = 96
"""Pixels per side at which scenes are drawn: degradations act here, before the encoder's squash to 64."""

KINDS: Final = ("visible", "grey visible", "infrared", "fused", "average")
QUALITIES: Final = ("clear", "blurred", "low contrast", "noisy")
QUALITY_SHARES: Final = (0.55, 0.15, 0.15, 0.15)
KIND_SHARES: Final = (0.25, 0.15, 0.25, 0.25, 0.1)
PLACES: Final = ("road scene", "scene", "street scene")

KIND_PHRASES: Final = {
    "visible": ("visible image", "colour image"),
    "grey visible": ("visible image", "grey image"),
    "infrared": ("infrared image", "thermal image"),
    "fused": ("fused image", "well fused image"),
    "average": ("averaged image", "badly fused image"),
}
QUALITY_PHRASES: Final = {
    "clear": ("clear", "sharp"),
    "blurred": ("blurred", "fuzzy"),
    "low contrast": ("dull", "weak"),
    "noisy": ("noisy", "grainy"),
}

_OBJECTS: Final = re.compile(
    r"(person|people|car|bicycle|lamp)s?( near| far)?( on the left| in the centre| on the right)"
)
_NAMES: Final = {"person": 0, "people": 0, "car": 1, "bicycle": 2, "lamp": 3}
_DISTANCES: Final = {"": 0, " near": 1, " far": 2}
_SIDES: Final = {" on the left": 0, " in the centre": 1, " on the right": 2}
OBJECT_GROUPS: Final = 36
"""Class, distance and side of what a caption lists, without its number."""


class Scene(NamedTuple):
    """Time of day and the sentences about one scene as it is and mirrored."""

    time: str
    captions: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Scenes:
    """Scenes in memory.

    Args:
        pictures: kind -> (N, 1 or 3, SIDE, SIDE) uint8.
        scenes: The texts, in the same order.
    """

    pictures: dict[str, Tensor]
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)


def draw_scenes(split: str, count: int, side: int = SIDE) -> Scenes:
    """Renders scenes of one split and fuses them, without learning, in batches."""
    dataset = SyntheticDataset(count, (side, side), split=split)
    samples = [dataset[index] for index in range(count)]
    visible = torch.stack([sample["visible"] for sample in samples])
    infrared = torch.stack([sample["infrared"] for sample in samples])
    fused, grey = [], []
    for optical, thermal in zip(torch.split(visible, 50), torch.split(infrared, 50), strict=True):
        bright = luma(optical / 255.0)
        grey.append(_bytes(bright))
        fused.append(_bytes(positive_examples(thermal / 255.0, bright)))
    planes = {"visible": visible, "grey visible": torch.cat(grey), "infrared": infrared, "fused": torch.cat(fused)}
    planes["average"] = ((planes["grey visible"].int() + infrared.int()) // 2).byte()
    return Scenes(planes, [_scene(dataset, index) for index in range(count)])


def _scene(dataset: SyntheticDataset, index: int) -> Scene:
    time = dataset.names[index].rpartition("_")[0]
    targets = dataset.load_targets(index)
    left, top, right, bottom = targets["boxes"].unbind(dim=1)
    width = dataset.size[1]
    mirrored = targets | {"boxes": torch.stack([width - right, top, width - left, bottom], dim=1)}
    captions = {
        place: (
            describe(time, targets, CLASSES, dataset.size, place),
            describe(time, mirrored, CLASSES, dataset.size, place),
        )
        for place in PLACES
    }
    return Scene(time, captions)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255.0).round().byte()


class Batches:
    """Random pictures with texts about them, decided by the seed.

    Args:
        scenes: What to draw from.
        seed: Of everything random here.
    """

    def __init__(self, scenes: Scenes, seed: int) -> None:
        self.scenes = scenes
        self.random = random.Random(seed)
        self.generator = Generator().manual_seed(seed)
        self.strengths = DegradationConfig()
        self.times = sorted({scene.time for scene in scenes.scenes})

    def texts(self, size: int) -> list[str]:
        """Texts alone, of different scenes."""
        chosen = self.random.sample(self.scenes.scenes, size)
        return [
            self._text(scene, self.random.choice(KINDS), self.random.choice(QUALITIES), mirror=False)
            for scene in chosen
        ]

    def draw(self, size: int, alike: float = 0.0) -> tuple[Tensor, list[str]]:
        """Pictures (size, 3, SIDE, SIDE) in [0, 1] of different scenes, and a text about each.

        Args:
            size: How many.
            alike: Probability that all are of one time of day, so that only objects tell them apart.
        """
        pool = list(range(len(self.scenes)))
        if alike and self.random.random() < alike:
            time = self.random.choice(self.times)
            pool = [index for index in pool if self.scenes.scenes[index].time == time]
        chosen = self.random.sample(pool, size)
        kinds = self.random.choices(KINDS, KIND_SHARES, k=size)
        qualities = self.random.choices(QUALITIES, QUALITY_SHARES, k=size)
        mirrored = [self.random.random() < 0.5 for _ in chosen]
        planes = []
        for index, kind, mirror in zip(chosen, kinds, mirrored, strict=True):
            plane = self.scenes.pictures[kind][index].expand(3, -1, -1)
            planes.append(plane.flip(-1) if mirror else plane)
        pictures = self._degraded(torch.stack(planes).float() / 255.0, qualities)
        texts = [
            self._text(self.scenes.scenes[index], kind, quality, mirror)
            for index, kind, quality, mirror in zip(chosen, kinds, qualities, mirrored, strict=True)
        ]
        return pictures, texts

    def _degraded(self, pictures: Tensor, qualities: list[str]) -> Tensor:
        for quality in QUALITIES[1:]:
            rows = [row for row, found in enumerate(qualities) if found == quality]
            if rows:
                pictures[rows] = self._worse(pictures[rows], quality)
        return pictures

    def _worse(self, pictures: Tensor, quality: str) -> Tensor:
        bounds = {
            "blurred": self.strengths.blur,
            "low contrast": self.strengths.contrast,
            "noisy": self.strengths.noise,
        }
        low, high = bounds[quality]
        strength = low + (high - low) * torch.rand(len(pictures), generator=self.generator)
        if quality == "blurred":
            return blurred(pictures, strength)
        if quality == "low contrast":
            return low_contrast(pictures, strength)
        return noisy(pictures, strength, self.generator)

    def _text(self, scene: Scene, kind: str, quality: str, mirror: bool) -> str:
        """The caption alone, the picture's kind and quality before it, or either without the objects."""
        place = self.random.choices(PLACES, (0.6, 0.2, 0.2))[0]
        caption = scene.captions[place][int(mirror)]
        if self.random.random() < 0.15:
            caption = describe(scene.time, None, CLASSES, (SIDE, SIDE), place)
        if self.random.random() < 0.45:
            return caption
        return picture_text(
            self.random.choice(QUALITY_PHRASES[quality]), self.random.choice(KIND_PHRASES[kind]), caption
        )


def picture_text(quality: str, kind: str, caption: str) -> str:
    """A sentence on what kind of picture shows the scene.

    Example:
        >>> picture_text("blurred", "infrared image", "A road scene at night.")
        'A blurred infrared image of a road scene at night.'
    """
    return f"A {quality} {kind} of {caption[0].lower()}{caption[1:]}"


def object_groups(text: str) -> list[int]:
    """The groups of objects that a caption lists.

    Example:
        >>> object_groups("A road scene at night with two people on the left and one car near in the centre.")
        [0, 13]
    """
    return [9 * _NAMES[name] + 3 * _DISTANCES[far] + _SIDES[side] for name, far, side in _OBJECTS.findall(text)]
