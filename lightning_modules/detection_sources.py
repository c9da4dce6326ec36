"""Which picture a detector sees: one modality, a classic rule's result, a trained fusion's, or stored files."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.contracts.class_paths import allowed_class_path, class_of, full_path, refusal
from ivif.files.archives import load_checked
from ivif.files.digests import file_digest
from ivif.image_ops.color import luma, recolor, split_luma_chroma
from ivif.lightning_modules.base import TASK_KEY, FusionTask
from ivif.models.classic import CLASSIC_FUSIONS
from ivif.models.layers.frozen import FrozenModule, freeze
from ivif.weights import find_weights

SOURCES: Final = ("infrared", "visible", *CLASSIC_FUSIONS, "checkpoint", "folder")
"""Every kind of source."""


class FusionCheckpointError(ValueError):
    """A file that is no checkpoint of a fusion task of this suite."""


@dataclass(frozen=True)
class DetectionSource:
    """What the detector is trained and tested on.

    Args:
        kind: `infrared` (repeated to three channels), `visible`, a rule of `ivif.models.classic` such as `average` (in
            the visible image's colours), `checkpoint` (a trained fusion, frozen) or `folder` (stored pictures, from
            the datamodule's `fused_dir`).
        checkpoint: File of the fusion, for `checkpoint` only.

    Raises:
        ValueError: If the kind is unknown, or `checkpoint` is missing or given in vain.
    """

    kind: str = "visible"
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in SOURCES:
            raise ValueError(f"source.kind is '{self.kind}'; known: {', '.join(SOURCES)}.")
        if self.kind == "checkpoint" and self.checkpoint is None:
            raise ValueError("source.kind 'checkpoint' needs source.checkpoint RUN_FOLDER/checkpoints/last.ckpt.")
        if self.kind != "checkpoint" and self.checkpoint is not None:
            raise ValueError(
                f"source.checkpoint is {self.checkpoint}, but source.kind is '{self.kind}', which reads no checkpoint. "
                f"Set source.kind to checkpoint, or leave source.checkpoint out."
            )


class FrozenFusion(FrozenModule):
    """A trained fusion task as a fixed function of the batch; stays out of the detector's checkpoints.

    Args:
        path: A checkpoint of a fusion task of this suite.

    Raises:
        FusionCheckpointError: If the file is missing, damaged, holds code, or names no fusion task of ours.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.task, self._identity = load_fusion(path)
        freeze(self)

    @property
    def identity(self) -> str:
        """The task's class and the start of the file's sha256."""
        return self._identity

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """The fused picture in the visible image's colours, (B, 3, H, W) in [0, 1]."""
        # The base's own `fuse`: that of a task with a detector would also run the detector.
        return FusionTask.fuse(self.task, batch)["fused"]


def build_source(config: DetectionSource) -> Callable[[Batch], Tensor]:
    """A function (a module where it has weights) from the batch to the picture (B, 3, H, W) in [0, 1].

    Raises:
        FusionCheckpointError: If the source is a checkpoint that does not load.
    """
    if config.kind == "checkpoint":
        return FrozenFusion(Path(str(config.checkpoint)))
    if config.kind in CLASSIC_FUSIONS:
        return partial(_classic_picture, config.kind)
    return {"infrared": _infrared_picture, "visible": _visible_picture, "folder": _stored_picture}[config.kind]


def load_fusion(path: Path) -> tuple[FusionTask, str]:
    """A fusion task with its trained weights, ready for use: from what `find_weights` knows, with the identity of both.

    It is in evaluation mode, so that no call changes a BatchNorm; call `train()` to train it further. Nothing in the
    file is run: it loads with `weights_only`, and its class must be a `FusionTask` that a file may name.

    Raises:
        FusionCheckpointError: If the file is missing, damaged, holds code, or names no fusion task of ours.
    """
    path = find_weights(path)
    checkpoint = _read(path)
    kind = _task_class(checkpoint, path)
    # Entries that start with an underscore are Lightning's notes on how to build the class: not followed here.
    settings = {key: value for key, value in checkpoint.get("hyper_parameters", {}).items() if not key.startswith("_")}
    try:
        task = kind(**settings)
    except (TypeError, ValueError) as error:
        raise FusionCheckpointError(f"{path}: {kind.__name__} cannot be built from its settings: {error}") from error
    task.on_load_checkpoint(dict(checkpoint))
    task.load_state_dict(checkpoint["state_dict"])
    return task.eval(), f"{checkpoint[TASK_KEY]}@{file_digest(path)[:16]}"


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FusionCheckpointError(f"source.checkpoint {path}: there is no such file.")
    try:
        checkpoint = load_checked(path)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        reason = str(error).strip().partition("\n")[0][:200]
        raise FusionCheckpointError(
            f"source.checkpoint {path}: the file is damaged or holds code, which is never run ({reason})."
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise FusionCheckpointError(f"source.checkpoint {path}: this is no checkpoint of a run (it has no weights).")
    return checkpoint


def _task_class(checkpoint: Mapping[str, Any], path: Path) -> type[FusionTask]:
    name = full_path(str(checkpoint.get(TASK_KEY, "")))
    if "." not in name:
        raise FusionCheckpointError(
            f"source.checkpoint {path}: it names no task. Give a checkpoint that this version of the suite wrote."
        )
    if not allowed_class_path(name):
        raise FusionCheckpointError(f"source.checkpoint {path}: {refusal(name)}")
    try:
        kind = class_of(name)
    except (AttributeError, ModuleNotFoundError) as error:
        raise FusionCheckpointError(f"source.checkpoint {path}: this version has no task '{name}'.") from error
    if not (inspect.isclass(kind) and issubclass(kind, FusionTask)) or _is_abstract(kind):
        raise FusionCheckpointError(f"source.checkpoint {path}: '{name}' is no fusion task of this version.")
    return kind


def _is_abstract(kind: type[FusionTask]) -> bool:
    return bool(getattr(kind.fuse_images, "__isabstractmethod__", False))  # Lightning's classes have no ABCMeta


def _infrared_picture(batch: Batch) -> Tensor:
    return batch["infrared"].expand(-1, 3, -1, -1)


def _visible_picture(batch: Batch) -> Tensor:
    return batch["visible"]


def _classic_picture(rule: str, batch: Batch) -> Tensor:
    _, chroma = split_luma_chroma(batch["visible"])
    return recolor(CLASSIC_FUSIONS[rule](batch["infrared"], luma(batch["visible"])), chroma)


def _stored_picture(batch: Batch) -> Tensor:
    if "fused" not in batch:
        raise ValueError(
            "source.kind 'folder' needs the fused pictures in the batch: set --data.fused_dir to the folder "
            "that `ivif predict` wrote them to."
        )
    return batch["fused"]
