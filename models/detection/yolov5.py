"""YOLOv5 of ultralytics (AGPL-3.0) behind our protocol; the only file that imports ultralytics.

ultralytics' `yolov5.yaml` is YOLOv5u: YOLOv5's backbone and neck with an anchor-free head and its losses, not the
anchor-based head of the 2020 release that papers cite.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.contracts.batch import Detections, Targets
from ivif.files.archives import compare_checksums
from ivif.files.places import home
from ivif.models.detection.base import (
    Candidates,
    CountedLoss,
    Detector,
    DetectorConfig,
    DetectorWeightsError,
    ListedDetections,
    evaluating,
)
from ivif.models.detection.ignored import any_ignored, ignored_cells
from ivif.models.detection.postprocess import Letterbox, letterbox, relative_boxes, suppress
from ivif.models.detection.traced import suppress_together, traced_letterbox

STRIDE: Final = 32

_ENVIRONMENT: Final = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


class YOLOv5Detector(Detector):
    """YOLOv5 n, s, m, l or x with any number of classes; built without network and without weights.

    Args:
        config: Architecture, letterbox, thresholds, gains.
        class_names: Name of each label, in order.

    Raises:
        ValueError: If there is no such architecture.
    """

    can_be_traced: ClassVar[bool] = True

    def __init__(self, config: DetectorConfig, class_names: Sequence[str]) -> None:
        super().__init__(class_names, STRIDE)
        if not re.fullmatch(r"yolov5[nsmlx]", config.architecture):
            raise ValueError(
                f"There is no '{config.architecture}'; there are yolov5n, yolov5s, yolov5m, yolov5l, yolov5x."
            )
        self.config = config
        tasks, _ = _ultralytics()
        self.model: nn.Module = tasks.DetectionModel(f"{config.architecture}.yaml", nc=len(class_names), verbose=False)
        self.model.args = SimpleNamespace(box=config.box_gain, cls=config.class_gain, dfl=config.dfl_gain)
        self.model.names = dict(enumerate(self.class_names))
        self._criteria: dict[torch.device, Any] = {}
        for name, parameter in self.model.named_parameters():
            if ".dfl" in name:  # fixed numbers 0..15, not weights
                parameter.requires_grad_(False)

    @property
    def head(self) -> Any:
        """The detection head."""
        return self.model.get_submodule("model")[-1]  # type: ignore[index]

    def fit_head(self, state: Mapping[str, Tensor]) -> None:
        """The width of the class branch follows the number of classes that it was first trained on."""
        first = state.get(f"model.model.{self.head.i}.cv3.0.0.conv.weight")
        if first is not None and len(first) != self.head.cv3[0][0].conv.out_channels:
            for index, branch in enumerate(self.head.cv3):
                self.head.cv3[index] = _class_branch_like(branch, len(first))

    def counted_loss(self, images: Tensor, targets: Sequence[Targets]) -> CountedLoss:
        """YOLO's `box`, `class` and `dfl` terms with their gains, over the sum of the assigned targets' scores.

        The `class` term leaves out the places in ignored regions that no object took.
        """
        inputs, box = letterbox(images, self.config.image_size, self.stride)
        owners, labels, boxes = relative_boxes(targets, box, (inputs.shape[-2], inputs.shape[-1]))
        output = self._forward(inputs)
        raw = output[1] if isinstance(output, tuple) else output
        with torch.autocast(images.device.type, enabled=False):
            raw = {key: _in_float32(value) for key, value in raw.items()}
            criterion, assigner = self._criterion(images.device)
            terms, _ = criterion(raw, {"batch_idx": owners, "cls": labels, "bboxes": boxes})
            numerators = terms * (assigner.total.clamp(min=1) / len(images))  # ultralytics gives quotients times images
            if any_ignored(targets):
                numerators = numerators - self._spared(raw, criterion, targets, box)
        return CountedLoss(dict(zip(("box", "class", "dfl"), numerators, strict=True)), assigner.total)

    def _spared(self, raw: dict[str, Any], criterion: Any, targets: Sequence[Targets], box: Letterbox) -> Tensor:
        """What the terms hold for classes that were seen in their ignored regions, in the order of the terms."""
        _, losses = _ultralytics()
        points, strides = losses.make_anchors(raw["feats"], criterion.stride, 0.5)
        cells = ignored_cells([points * strides] * len(targets), targets, self.num_classes, box.to_network)
        free = cells & ~criterion.assigner.foreground[:, :, None]
        scores = raw["scores"].transpose(1, 2)
        spared = torch.where(free, F.softplus(scores), 0.0).sum()  # what seeing something costs where nothing is
        return torch.stack([spared.new_zeros(()), self.config.class_gain * spared, spared.new_zeros(())])

    @torch.no_grad()
    def predict(self, images: Tensor) -> list[Detections]:
        """Detections after non-maximum suppression; computed in evaluation mode whatever the module's mode."""
        config, (boxes, scores, to_image) = self.config, self.candidates(images)
        found = []
        for own in zip(boxes, scores, strict=True):
            kept = suppress(*own, config.score_threshold, config.iou_threshold, config.max_detections)
            found.append(Detections(boxes=to_image(kept["boxes"]), scores=kept["scores"], labels=kept["labels"]))
        return found

    @torch.no_grad()
    def candidates(self, images: Tensor) -> Candidates:
        """See `Detector`."""
        inputs, box = letterbox(images, self.config.image_size, self.stride)
        with evaluating(self.model):
            output = self._forward(inputs)[0].float().transpose(1, 2)
        centers, halves = output[..., :2], output[..., 2:4] / 2
        return Candidates(torch.cat([centers - halves, centers + halves], dim=2), output[..., 4:], box.to_image)

    @torch.no_grad()
    def listed(self, images: Tensor, score_threshold: Tensor) -> ListedDetections:
        """See `Detector`. Decodes the head's raw output itself: the head would keep what it has traced."""
        inputs, box = traced_letterbox(images, self.config.image_size, self.stride)
        _, losses = _ultralytics()
        head = self.head
        with evaluating(self.model):
            head.training = True  # only itself: gives its raw output
            raw = self._forward(inputs)
        points, strides = losses.make_anchors(raw["feats"], head.stride.tolist(), 0.5)
        distances = head.dfl(raw["boxes"]).transpose(1, 2)
        corners = torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=2) * strides
        scores = raw["scores"].sigmoid().transpose(1, 2)
        config = self.config
        found = suppress_together(corners, scores, score_threshold, config.iou_threshold, config.max_detections)
        return found._replace(boxes=box.to_image(found.boxes))

    def _forward(self, inputs: Tensor) -> Any:
        self.head.shape = None  # its cached anchors may be inference tensors, which no later gradient could pass
        return self.model(inputs)

    def _criterion(self, device: torch.device) -> tuple[Any, "_RememberingAssigner"]:
        """Ultralytics' loss, which holds tensors of one device; made once for each, because that reads the strides."""
        if device not in self._criteria:
            _, losses = _ultralytics()
            criterion = losses.v8DetectionLoss(self.model)
            criterion.stride = criterion.stride.tolist()  # numbers: a GPU is not asked for them at each step
            criterion.assigner = _RememberingAssigner(criterion.assigner)
            self._criteria[device] = criterion
        return self._criteria[device], self._criteria[device].assigner


def _class_branch_like(branch: Any, width: int) -> nn.Sequential:
    """An untrained class branch of another width: two 3x3 layers, then one row a class."""
    layer, inputs, rows = type(branch[0]), branch[0].conv.in_channels, branch[2]
    wide = nn.Sequential(layer(inputs, width, 3), layer(width, width, 3), nn.Conv2d(width, rows.out_channels, 1))
    for new, old in zip(wide.modules(), branch.modules(), strict=True):
        new.training = old.training
        if isinstance(new, nn.BatchNorm2d):
            new.eps, new.momentum = old.eps, old.momentum  # ultralytics changes both after it has built a network
    for parameter, own in zip(wide.parameters(), branch.parameters(), strict=True):
        parameter.requires_grad_(own.requires_grad)
    wide[2].load_state_dict({"weight": wide[2].weight, "bias": rows.bias})  # the bias says how rare objects are
    return wide.to(rows.weight)


class _RememberingAssigner:
    """ultralytics' target assigner, which remembers which places got objects, and what the loss is divided by."""

    def __init__(self, assigner: Any) -> None:
        self.assigner = assigner
        self.total = torch.ones(())
        self.foreground = torch.zeros((), dtype=torch.bool)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        assigned = self.assigner(*arguments, **options)
        self.total = assigned[2].sum()
        self.foreground = assigned[3]
        return assigned


def _in_float32(value: Any) -> Any:
    return [entry.float() for entry in value] if isinstance(value, list | tuple) else value.float()


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """State dict and class names of a `yolov5*u.pt`, without running code that the file may hold.

    Raises:
        DetectorWeightsError: If the file is the original YOLOv5's, damaged, or something else, or if the installed
            ultralytics could not load it without running code.
    """
    tasks, _ = _ultralytics()
    if not getattr(getattr(tasks, "_SafeLoad", None), "SUPPORTED", False):
        raise DetectorWeightsError(
            f"Detector weights '{path}': the installed ultralytics and torch may run code that such a file holds. "
            f"Update both, or give a state dict as .safetensors."
        )
    try:
        compare_checksums(path)
        # ultralytics looks at the name: it takes `yolov5n.pt` for a slip, drops apostrophes, and downloads (or deletes
        # and downloads again) what it knows. Under another name it only reads.
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "weights.pt"
            link.symlink_to(path.resolve())
            checkpoint, _ = tasks.torch_safe_load(str(link), safe_only=True)
        model = checkpoint.get("ema") or checkpoint["model"]
        state = {key: value.float() for key, value in model.state_dict().items()}
        names = model.names
    except Exception as error:  # ultralytics raises a dozen kinds
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DetectorWeightsError(
            f"Detector weights '{path}': not a checkpoint of ultralytics' YOLOv5u ({reason}). Files of the original "
            f"YOLOv5 (yolov5n.pt) do not load; take yolov5nu.pt, or a state dict as .safetensors."
        ) from error
    return state, tuple(names[index] for index in sorted(names)) if isinstance(names, dict) else tuple(names)


@cache
def _ultralytics() -> tuple[Any, Any]:
    """(ultralytics.nn.tasks, ultralytics.utils.loss), imported offline and without its side effects."""
    folder = Path(os.environ.setdefault("YOLO_CONFIG_DIR", str(home() / ".cache" / "ultralytics")))
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _unchanged():
        from ultralytics.nn import tasks
        from ultralytics.utils import SETTINGS, loss

        if SETTINGS.get("sync"):
            SETTINGS.update(sync=False)  # type: ignore[no-untyped-call]
    return tasks, loss


@contextmanager
def _unchanged() -> Iterator[None]:
    """All that the import changes in the whole process comes back.

    It sets threads (of OpenCV too), environment and print options, and puts functions of its own in place of
    `torch.save` and of PIL's `open` (which then fails where a package for HEIC is missing); all come back.
    """
    import cv2  # ultralytics needs it, and other detectors do not

    environment, threads, cv2_threads = dict(os.environ), torch.get_num_threads(), cv2.getNumThreads()
    save, opened = torch.save, Image.open
    tensors, numbers = asdict(torch._tensor_str.PRINT_OPTS), np.get_printoptions()
    try:
        yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
        torch.save, Image.open = save, opened
        torch.set_printoptions(**tensors)  # type: ignore[no-untyped-call]
        np.set_printoptions(**numbers)
