"""Torchvision's detectors (BSD) behind our protocol, for those who cannot take YOLO's licence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import fcos_resnet50_fpn, ssdlite320_mobilenet_v3_large
from torchvision.ops import clip_boxes_to_image

from ivif.contracts.batch import Detections, Targets
from ivif.image_ops.constants import constant
from ivif.models.detection.base import CountedLoss, Detector, DetectorConfig, evaluating
from ivif.models.detection.ignored import any_ignored, ignored_cells

OFFSETS: Final = {"fcos_resnet50": 0, "ssdlite320": 1}
"""Architectures, and how many labels come before the first class (ssdlite counts the background)."""

_CERTAINLY_NOT: Final = -100.0
"""A logit whose probability is 0, in half precision too."""


class TorchvisionDetector(Detector):
    """FCOS with a ResNet-50, or SSDlite with a MobileNetV3; resizes and normalises by itself.

    Args:
        config: Architecture, size, thresholds.
        class_names: Name of each label, in order.
    """

    def __init__(self, config: DetectorConfig, class_names: Sequence[str]) -> None:
        super().__init__(class_names, 32)
        self.config = config
        self.offset = OFFSETS[config.architecture]
        count = len(class_names) + self.offset
        options: dict[str, Any] = {
            "weights": None,
            "weights_backbone": None,
            "num_classes": count,
            "score_thresh": config.score_threshold,
            "nms_thresh": config.iou_threshold,
            "detections_per_img": config.max_detections,
        }
        if config.architecture == "ssdlite320":
            self.model: nn.Module = ssdlite320_mobilenet_v3_large(**options)
        else:
            self.model = fcos_resnet50_fpn(**options)  # all layers train without weights

    def counted_loss(self, images: Tensor, targets: Sequence[Targets]) -> CountedLoss:
        """Torchvision's own terms (`classification`, `bbox_regression`, and for FCOS `bbox_ctrness`) over the anchors.

        Torchvision divides by the number of anchors that have an object. Anchors without one are not asked about a
        class whose ignored region they lie in.
        """
        self._fit(images)
        shifted = [{"boxes": entry["boxes"], "labels": entry["labels"] + self.offset} for entry in targets]
        mode, self.model.training = self.model.training, True  # only the outermost: whether losses are computed
        try:
            with self._counting(images, targets) as counts:
                terms: dict[str, Tensor] = self.model(list(images), shifted)
        finally:
            self.model.training = mode
        return CountedLoss({name: term * counts[0].clamp(min=1) for name, term in terms.items()}, counts[0])

    @contextmanager
    def _counting(self, images: Tensor, targets: Sequence[Targets]) -> Iterator[list[Tensor]]:
        """Collects how many anchors have an object, where torchvision matches them, and leaves ignored regions out."""
        owner: Any = self.model.head if self.config.architecture == "fcos_resnet50" else self.model
        compute, counts = owner.compute_loss, []
        sizes: list[tuple[int, int]] = []

        def counting(known: Any, outputs: dict[str, Tensor], anchors: Any, matched: Sequence[Tensor]) -> Any:
            counts.append(torch.stack([(own >= 0).sum() for own in matched]).sum().float())
            if any_ignored(targets):
                height, width = sizes[0]
                scale = (width / images.shape[-1], height / images.shape[-2])
                free = self._ignored(targets, anchors, scale) & (torch.stack(list(matched)) < 0)[:, :, None]
                outputs = {**outputs, "cls_logits": outputs["cls_logits"].masked_fill(free, _CERTAINLY_NOT)}
            return compute(known, outputs, anchors, matched)

        transform: Any = self.model.transform
        hook = transform.register_forward_hook(lambda _module, _inputs, resized: sizes.extend(resized[0].image_sizes))
        owner.compute_loss = counting
        try:
            yield counts
        finally:
            del owner.compute_loss
            hook.remove()

    def _ignored(self, targets: Sequence[Targets], anchors: Sequence[Tensor], scale: tuple[float, float]) -> Tensor:
        """Which logits (B, A, rows) are of a class whose ignored region their anchor lies in."""
        centers = [(own[:, :2] + own[:, 2:]) / 2 for own in anchors]
        factors = constant(scale * 2, torch.float32, centers[0].device)
        return F.pad(ignored_cells(centers, targets, self.num_classes, lambda boxes: boxes * factors), (self.offset, 0))

    @torch.no_grad()
    def predict(self, images: Tensor) -> list[Detections]:
        """Detections; computed in evaluation mode whatever the module's mode."""
        self._fit(images)
        with evaluating(self.model):
            results = self.model(list(images))
        size = (images.shape[-2], images.shape[-1])
        return [
            Detections(
                boxes=clip_boxes_to_image(result["boxes"], size).float(),
                scores=result["scores"].float(),
                labels=result["labels"] - self.offset,
            )
            for result in results
        ]

    def _fit(self, images: Tensor) -> None:
        """FCOS resizes the shorter side to `min_size`: here, so that the longer one is as configured."""
        if self.config.architecture == "ssdlite320":
            return
        height, width = images.shape[-2:]
        scale = 1.0 if self.config.image_size is None else self.config.image_size / max(height, width)
        transform: Any = self.model.transform
        transform.min_size, transform.max_size = (round(min(height, width) * scale),), round(max(height, width) * scale)
