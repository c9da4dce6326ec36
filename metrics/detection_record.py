"""What a test found in each picture and what is there, as a file, of which scores over several tests can be made."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from ivif.contracts.batch import Detections, Targets, empty_targets
from ivif.metrics.detection import DetectionMetrics, Image

_PARTS: Final = {"found": ("boxes", "scores", "labels"), "objects": ("boxes", "labels"), "ignored": ("boxes", "labels")}
"""Detections, objects, ignored regions, and what is kept of each."""


def to_bytes(images: Mapping[tuple[str, str], Image], class_names: Sequence[str]) -> bytes:
    """A safetensors file: what all pictures have, one after the other, and `<part>.counts`, how many each has.

    Args:
        images: By dataset and name, at least one.
        class_names: Name of each label.
    """
    from safetensors.torch import save

    entries: dict[str, list[Any]] = {
        "found": [found for found, _ in images.values()],
        "objects": [wanted for _, wanted in images.values()],
        "ignored": [wanted.get("ignored", empty_targets()) for _, wanted in images.values()],
    }
    tensors: dict[str, Tensor] = {}
    for part, names in _PARTS.items():
        tensors[f"{part}.counts"] = torch.tensor([len(entry["labels"]) for entry in entries[part]])
        tensors |= {f"{part}.{name}": torch.cat([entry[name] for entry in entries[part]]) for name in names}
    return save(tensors, {"classes": json.dumps(list(class_names)), "pictures": json.dumps(list(images))})


def read_metrics(paths: Sequence[Path]) -> DetectionMetrics:
    """The pictures of several such files together.

    Raises:
        ValueError: If a file is damaged or none of these, or has other classes than the first.
        OSError: If one cannot be read.
    """
    records = [_read(path) for path in paths]
    metrics = DetectionMetrics(records[0].classes)
    for path, record in zip(paths, records, strict=True):
        if record.classes != metrics.class_names:
            raise ValueError(f"'{path}' has the classes {record.classes}, '{paths[0]}' {metrics.class_names}.")
        for dataset, name, found, wanted in record.images:
            metrics.update([found], [wanted], [dataset], [name])
    return metrics


class _Record(NamedTuple):
    classes: tuple[str, ...]
    images: list[tuple[str, str, Detections, Targets]]


def _read(path: Path) -> _Record:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return _Record(tuple(json.loads(metadata["classes"])), list(_images(tensors, json.loads(metadata["pictures"]))))
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"'{path}' holds no detections of a test, or is damaged ({error}).") from error


def _images(tensors: Mapping[str, Tensor], keys: Sequence[Any]) -> Iterator[tuple[str, str, Detections, Targets]]:
    split = {
        f"{part}.{name}": torch.split(tensors[f"{part}.{name}"], tensors[f"{part}.counts"].tolist())
        for part, names in _PARTS.items()
        for name in names
    }
    for index, (dataset, name) in enumerate(keys):
        own = {key: values[index] for key, values in split.items()}
        found: Detections = {
            "boxes": own["found.boxes"],
            "scores": own["found.scores"],
            "labels": own["found.labels"],
        }
        ignored: Targets = {"boxes": own["ignored.boxes"], "labels": own["ignored.labels"]}
        yield dataset, name, found, {"boxes": own["objects.boxes"], "labels": own["objects.labels"], "ignored": ignored}
