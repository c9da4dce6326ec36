"""The contract between readers, tasks and callbacks: samples, batches, step outputs, and how samples are collated.

Images are RGB order, channels first. A *sample* may hold 8-bit planes (`uint8`, 0..255), as decoded, so that workers
pass a quarter of the bytes; a *batch*, as a task sees it, is always float32 in [0, 1]: `batch_to_float` converts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, NotRequired, TypedDict, cast, final

import torch
from torch import Tensor
from torch.utils.data import default_collate

IMAGE_KEYS: Final = (
    "infrared",
    "visible",
    "mask",
    "saliency",
    "previous",
    "fused",
    "clip_view_infrared",
    "clip_view_visible",
)
"""Every key that holds an image-like plane (uint8 in a sample at most, float32 in [0, 1] in a batch)."""

SPATIAL_KEYS: Final = ("infrared", "visible", "mask", "saliency", "previous", "fused")
"""The planes that share the pair's pixel grid, so that joint geometric transforms move them together."""


class BatchSize(NamedTuple):
    """Size of a batch.

    Attributes:
        pairs: How many.
        height: Of each, in pixels.
        width: Of each.
        pair: `dataset/name` of a pair of that size, where not all have it.
    """

    pairs: int
    height: int
    width: int
    pair: str = ""


@final
class Targets(TypedDict):
    """Objects of one image: `boxes` (N, 4) float32 xyxy pixels, `labels` (N,) int64; without objects (0, 4), (0,).

    `ignored` holds regions in the same form (crowds, what is hard to see), where there are any: finding their class
    there is neither right nor wrong. They are no objects, so that whoever counts or learns from those need not ask.
    """

    boxes: Tensor
    labels: Tensor
    ignored: NotRequired["Targets"]


class _Planes(TypedDict):
    """What `IMAGE_KEYS` lists."""

    infrared: Tensor
    visible: Tensor
    mask: NotRequired[Tensor]
    saliency: NotRequired[Tensor]
    previous: NotRequired[Tensor]
    fused: NotRequired[Tensor]
    clip_view_infrared: NotRequired[Tensor]
    clip_view_visible: NotRequired[Tensor]


class Sample(_Planes):
    """One registered pair, without the batch dimension.

    `infrared` (1, H, W), `visible` (3, H, W), `mask` (1, H, W), `saliency` (2, H, W; infrared, visible luma),
    `previous` (1, H, W; last epoch's fused luma), `fused` (3, H, W; a stored fused picture): uint8 0..255 or float32 in
    [0, 1]. `name` is unique within `dataset`. `content_id` is a hash of both files' bytes (of seed and index for
    generated pairs). `picture_ids` names the decoded pictures that went into the sample, 16 hexadecimal digits each
    (`ivif.datamodules.datasets.picture_ids`). `clip_view_*` are the whole frame squashed to CLIP's input size, never
    augmented.
    """

    name: str
    dataset: str
    content_id: str
    picture_ids: NotRequired[str]
    targets: NotRequired[Targets]
    prompt: NotRequired[str]


class Batch(_Planes):
    """Collated samples: images (B, C, H, W), float32 in [0, 1] once on the model's side; the rest are lists."""

    name: list[str]
    dataset: list[str]
    content_id: list[str]
    picture_ids: NotRequired[list[str]]
    targets: NotRequired[list[Targets]]
    prompt: NotRequired[list[str]]


@final
class Detections(TypedDict):
    """What a detector found: `boxes` (N, 4) xyxy pixels, `scores` (N,) in [0, 1], falling, `labels` (N,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


Boxes = Targets | Detections
"""What can be drawn on a picture."""


class StepOutput(TypedDict):
    """What validation, test and predict steps return: `fused` (B, 3, H, W) and `fused_luma` (B, 1, H, W), in [0, 1]."""

    fused: Tensor
    fused_luma: Tensor
    detections: NotRequired[list[Detections]]


def map_targets(targets: Targets, change: Callable[[Tensor], Tensor]) -> Targets:
    """The same targets, ignored regions too, with every tensor changed."""
    changed: Targets = {"boxes": change(targets["boxes"]), "labels": change(targets["labels"])}
    return {**changed, "ignored": map_targets(targets["ignored"], change)} if "ignored" in targets else changed


def empty_targets() -> Targets:
    """The targets of an image without objects."""
    return {"boxes": torch.zeros((0, 4), dtype=torch.float32), "labels": torch.zeros((0,), dtype=torch.int64)}


class TargetList(list[Targets]):
    """A batch's targets, which travel between processes as arrays: a tensor would take a file descriptor of its own."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled, in a loader process; elsewhere it may be on a GPU."""
        if any(own["boxes"].device.type != "cpu" for own in self):
            return TargetList, (list(self),)
        return _targets_of, ([_arrays(own) for own in self],)


def _arrays(targets: Targets) -> tuple[Any, ...]:
    arrays = (targets["boxes"].numpy(), targets["labels"].numpy())
    return (*arrays, *_arrays(targets["ignored"])) if "ignored" in targets else arrays


def _targets_of(images: Iterable[Sequence[Any]]) -> TargetList:
    return TargetList(_from_arrays(image) for image in images)


def _from_arrays(arrays: Sequence[Any]) -> Targets:
    targets: Targets = {"boxes": torch.from_numpy(arrays[0]), "labels": torch.from_numpy(arrays[1])}
    return {**targets, "ignored": _from_arrays(arrays[2:])} if arrays[2:] else targets


def collate(samples: Sequence[Sample], class_names: Sequence[str] = ()) -> Batch:
    """Stacks the planes and lists everything else.

    Args:
        samples: Of one batch.
        class_names: Of the detector that is to learn from them, where there is one. Labels are looked at here: on a GPU
            each look would wait for all that runs there.

    Raises:
        ValueError: If samples differ in their keys or in the size or type of a plane, or a label is beyond the class
            names; names the samples and the remedy.
    """
    first = samples[0]
    batch: dict[str, Any] = {}
    for key in first:
        values = [cast("dict[str, Any]", sample).get(key) for sample in samples]
        if any(value is None for value in values):
            lacking = [f"{s['dataset']}/{s['name']}" for s, value in zip(samples, values, strict=True) if value is None]
            raise ValueError(
                f"Some samples of one batch have '{key}' and others lack it ({', '.join(lacking[:4])}). Give every "
                f"dataset of a mixture the same options (labels, prompts, clip_size), or use batch_size 1."
            )
        batch[key] = _stack(samples, key, cast("list[Tensor]", values)) if key in IMAGE_KEYS else values
    if "targets" in batch:
        batch["targets"] = TargetList(batch["targets"])
    if "targets" in batch and class_names:
        _refuse_unknown_labels(samples, class_names)
    return cast("Batch", batch)


def _refuse_unknown_labels(samples: Sequence[Sample], class_names: Sequence[str]) -> None:
    for sample in samples:
        targets = sample["targets"]
        regions = targets["ignored"]["labels"].tolist() if "ignored" in targets else []
        labels = sorted({*targets["labels"].tolist(), *regions})
        if labels and not 0 <= labels[0] <= labels[-1] < len(class_names):
            raise ValueError(
                f"{sample['dataset']}/{sample['name']} has the labels {labels}, but the detector knows "
                f"{len(class_names)} classes ({', '.join(class_names)}). Give the task the classes of its dataset."
            )


def _stack(samples: Sequence[Sample], key: str, planes: list[Tensor]) -> Tensor:
    if len({plane.dtype for plane in planes}) > 1:
        planes = [plane_to_float(plane) for plane in planes]
    if len({plane.shape for plane in planes}) > 1:
        sizes = ", ".join(
            f"{s['dataset']}/{s['name']} {tuple(plane.shape[-2:])}" for s, plane in zip(samples, planes, strict=True)
        )
        raise ValueError(
            f"'{key}' differs in size within one batch ({sizes}). Set transforms.crop or transforms.resize, or use "
            f"loading.batch_size 1."
        )
    stacked: Tensor = default_collate(planes)  # in a loader process straight into shared memory, without a second copy
    return stacked


def plane_to_float(plane: Tensor) -> Tensor:
    """An 8-bit plane (0..255) as float32 in [0, 1]; float planes pass through as float32."""
    return plane.to(torch.float32).div_(255.0) if plane.dtype == torch.uint8 else plane.to(torch.float32)


def batch_to_float(batch: Batch) -> Batch:
    """A batch whose planes are all float32 in [0, 1], on whatever device they are; a new dictionary, shared entries."""
    converted: dict[str, Any] = dict(batch)
    for key in IMAGE_KEYS:
        if key in converted:
            converted[key] = plane_to_float(converted[key])
    return cast("Batch", converted)


def pair_names(batch: Batch) -> list[str]:
    """`dataset/name` of each pair, for messages."""
    return [f"{dataset}/{name}" for dataset, name in zip(batch["dataset"], batch["name"], strict=True)]
