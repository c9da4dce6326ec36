"""The tasks that the GPU check trains: tiny ones of every kind, and the methods as their configurations have them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
import yaml
from lightning import Callback, Trainer

from ivif.bilevel import SCHEMES, BilevelConfig
from ivif.contracts.class_paths import class_of, full_path
from ivif.datamodules.configuration import LoadingConfig, TransformConfig, with_clip_size
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig

CONFIGS: Final = Path(__file__).resolve().parents[2] / "configs"
CLASSES: Final = SyntheticDataModule().classes
DETECTOR: Final = DetectorConfig("yolov5n", image_size=None)
TRAINING: Final = DetectorTrainingConfig(average_ramp=4.0)
PHASES: Final = ("autoencoder", "prompts", "fusion", "detector", "bilevel", "refinement")
"""Of `promptfusion`, three steps each."""

SHORT: Final = {"autoencoder": 1, "prompts": 1, "fusion": 1, "detector": 1, "bilevel": 4}
"""Phases of eight steps."""


def _mgfusion(folder: Path, clip: bool = True, view: Literal["crop", "full"] = "crop") -> FusionTask:
    network = MGFusionConfig(channels=8, blocks=1, heads=2, use_cii=clip, use_cff=clip)
    return MGFusionTask("random-tiny", network, clip_view=view, feature_cache=folder / "features")


def _detection(source: str) -> FusionTask:
    return DetectionTask(CLASSES, source=DetectionSource(source), detector=DETECTOR, training=TRAINING)


def _text_to_pixels(scheme: str = "separate", clip: bool = True) -> FusionTask:
    return TextToPixelsTask(
        clip="random-tiny" if clip else None,
        network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8, codebook_update="ema"),
        detector=DETECTOR if clip else None,
        training=TRAINING,
        bilevel=BilevelConfig(scheme=scheme, unit="step", warmup=1, lower_steps=1, value_steps=1),
        crops=CropConfig(32, 2),
        classes=CLASSES,
    )


def _promptfusion(clip: bool = True) -> FusionTask:
    prompts = PromptsConfig(clip="random-tiny", length=4, refinement=RefinementConfig(rounds=1, share=0.5))
    return PromptFusionTask(
        network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
        prompts=prompts if clip else None,
        phases=PhaseConfig(autoencoder=3, prompts=3, fusion=3, detector=3, bilevel=6),
        detector=DETECTOR if clip else None,
        training=TRAINING,
        bilevel=BilevelConfig(unit="step", lower_steps=1, value_steps=1),
        crops=CropConfig(32, 1),
        classes=CLASSES,
    )


TINY: Final[Mapping[str, Callable[[Path], FusionTask]]] = {
    "mgfusion": _mgfusion,
    "mgfusion, cached features": lambda folder: _mgfusion(folder, view="full"),
    "detection": lambda _: _detection("visible"),
    "detection of a rule": lambda _: _detection("contourlet"),
    **{f"text_to_pixels, {scheme}": lambda _, name=scheme: _text_to_pixels(name) for scheme in SCHEMES},  # type: ignore[misc]
    "promptfusion": lambda _: _promptfusion(),
    "mgfusion without CLIP": lambda folder: _mgfusion(folder, clip=False),
    "text_to_pixels without CLIP and detector": lambda _: _text_to_pixels(clip=False),
    "promptfusion without CLIP and detector": lambda _: _promptfusion(clip=False),
}
"""The last three need neither open_clip nor ultralytics."""


def tiny(kind: str, folder: Path) -> FusionTask:
    """A task with the same weights each time."""
    torch.manual_seed(7)
    return TINY[kind](folder)


def tiny_data(task: FusionTask) -> SyntheticDataModule:
    """Three batches of two pairs of 64x64 pixels with boxes and prompts, with the views that CLIP asks for."""
    made = scenes(2, 3, (64, 64), TransformConfig(crop=None, resize=(64, 64), rotate90=False))
    if getattr(task, "clip_view", "crop") == "full":
        made.transforms = with_clip_size(made.transforms, task.encoder.image_size)  # type: ignore[union-attr, arg-type]
    return made


def scenes(batch: int, steps: int, size: tuple[int, int], transforms: TransformConfig) -> SyntheticDataModule:
    """Generated scenes, loaded in this process and kept in memory: an epoch of so many batches."""
    return SyntheticDataModule(
        train_length=batch * steps,
        evaluation_length=1,
        size=size,
        loading=LoadingConfig(batch_size=batch, num_workers=0, cache="ram"),
        transforms=transforms,
        prompts=PromptConfig("fine"),
    )


def length(kind: str) -> dict[str, int]:
    """How long a tiny task is trained: two epochs, or three steps of each phase."""
    return {"max_epochs": -1, "max_steps": 18} if kind.startswith("promptfusion") else {"max_epochs": 2}


def configured(method: str, light: bool, packages: bool) -> FusionTask:
    """A method as `configs/METHOD.yaml` has it, or as `METHOD_cpu.yaml` changes that, with a CLIP of random weights.

    Args:
        method: Name of the configuration.
        light: Whether it is the preset `light`.
        packages: Whether there is a CLIP (of open_clip) and a detector (of ultralytics).
    """
    model = _read(method)
    given = model["init_args"]
    if light:
        given = _merged(given, _read(f"{method}_cpu")["init_args"])
    given = _merged(given, _parts("random-tiny" if light else "random-ViT-B-32")[method] if packages else PLAIN[method])
    task: FusionTask = class_of(full_path(model["class_path"]))(**given)
    return task


PLAIN: Final[dict[str, dict[str, Any]]] = {
    "mgfusion": {"network": {"use_cii": False, "use_cff": False}},
    "text_to_pixels": {"clip": None, "detector": None},
    "promptfusion": {"prompts": None, "detector": None, "phases": SHORT},
}
"""Method -> arguments without CLIP and detector."""


def _parts(clip: str) -> dict[str, dict[str, Any]]:
    return {
        "mgfusion": {"clip": clip},
        "text_to_pixels": {"clip": clip, "classes": CLASSES},
        "promptfusion": {"prompts": {"clip": clip}, "classes": CLASSES, "phases": SHORT},
    }


def _read(name: str) -> dict[str, Any]:
    model: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))["model"]
    return model


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        key: _merged(first.get(key, {}), value) if isinstance(value, dict) else value for key, value in second.items()
    }
    return {**first, **own}


def trainer(device: str, folder: Path, callbacks: list[Callback], **options: Any) -> Trainer:
    """A trainer on one device without bars, logs and checkpoints; options override."""
    settings: dict[str, Any] = {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "use_distributed_sampler": False,
        "inference_mode": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 50,  # a step that logs must look at what it logs
        "callbacks": callbacks,
    }
    return Trainer(**(settings | options))
