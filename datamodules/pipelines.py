"""Which transforms a configuration stands for, and in which order."""

import itertools
from collections.abc import Iterable

from ivif.datamodules.configuration import TransformConfig
from ivif.datamodules.datasets.appearance import AddClipViews, AddSaliency, VisibleJitter
from ivif.datamodules.datasets.boxes import BoxRule
from ivif.datamodules.datasets.mosaic import Mosaic
from ivif.datamodules.datasets.picture_words import turn_words
from ivif.datamodules.datasets.transforms import (
    Compose,
    RandomCrop,
    RandomFlipRotate90,
    RandomZoom,
    Resize,
    Transform,
)


def training_frames(config: TransformConfig, rule: BoxRule) -> list[Transform]:
    """What happens to a whole training frame before anything random."""
    return _frames(config, rule) + ([AddSaliency()] if config.saliency else [])


def mosaic(config: TransformConfig, rule: BoxRule) -> Mosaic | None:
    """How training frames are joined, if they are."""
    return Mosaic(config.mosaic, rule) if config.mosaic else None


def training(config: TransformConfig, rule: BoxRule) -> Compose:
    """What happens at random, in training alone."""
    steps: list[Transform] = [RandomZoom(config.zoom, rule)] if config.zoom else []
    steps += [RandomCrop(config.crop, rule=rule)] if config.crop else []
    steps += [RandomFlipRotate90(config.flip, config.rotate90)] if config.flip or config.rotate90 else []
    steps += [VisibleJitter(config.jitter, config.jitter, config.jitter)] if config.jitter else []
    return Compose(steps)


def training_prompts(config: TransformConfig, prompts: Iterable[str]) -> set[str]:
    """What training may make of prompts: its flips and turns move the words left and right."""
    upturned, quarters = config.flip is True, 4 if config.rotate90 else 1
    ways = list(itertools.product({False, bool(config.flip)}, {False, upturned}, range(quarters)))
    return {turn_words(prompt, *way) for prompt in prompts for way in ways}


def evaluation(config: TransformConfig, rule: BoxRule) -> Compose:
    """What happens to the frames of validation, test and prediction."""
    return Compose(_frames(config, rule))


def _frames(config: TransformConfig, rule: BoxRule) -> list[Transform]:
    steps: list[Transform] = [AddClipViews(config.clip_size)] if config.clip_size else []
    return steps + ([Resize(config.resize, rule)] if config.resize else [])
