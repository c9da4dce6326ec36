"""Boxes from VOC xml, YOLO txt and COCO json, mapped to a dataset's classes by name."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from ivif.contracts.batch import Targets, empty_targets
from ivif.datamodules.datasets.labels.class_names import class_index
from ivif.datamodules.datasets.labels.formats import (
    LABEL_FORMATS,
    LabeledBox,
    class_list,
    file_state,
    parse_coco,
    parse_voc,
    parse_yolo,
)
from ivif.files.errors import LabelError

logger = logging.getLogger(__name__)


class LabelReader:
    """Reads one pair's boxes from whatever format its label file has.

    Boxes are clipped to the image; those whose shorter side is then below `minimum_side` pixels are dropped, counted in
    `dropped`, and the first of them is named in a warning. A file is parsed once per process, and again when it or the
    class list beside it has changed.

    Args:
        classes: The dataset's classes; labels are positions in it.
        yolo_names: Order of the ids in this dataset's YOLO files (a `classes.txt` beside them wins).
        unknown: `error` stops at a class that `classes` lacks; `ignore` leaves the object out and counts it in
            `ignored`.
        minimum_side: In pixels of the image.
    """

    def __init__(
        self,
        classes: Sequence[str],
        yolo_names: Sequence[str],
        unknown: Literal["error", "ignore"] = "error",
        minimum_side: float = 1.0,
    ) -> None:
        if unknown not in ("error", "ignore"):
            raise ValueError(f"unknown_labels is '{unknown}'; known: error, ignore.")
        self.classes = tuple(classes)
        self.yolo_names = tuple(yolo_names)
        self.unknown = unknown
        self.minimum_side = minimum_side
        self.ignored: Counter[str] = Counter()
        self.dropped = 0
        self._known: dict[tuple[object, ...], Targets] = {}

    def __getstate__(self) -> dict[str, object]:
        """What a loader process that is not forked gets: without the parsed files, each of them a file descriptor."""
        return {**vars(self), "_known": {}}

    def read(self, path: Path, stem: str, size: tuple[int, int]) -> Targets:
        """The objects of one image.

        Args:
            path: The label file (xml, txt or json).
            stem: The image's stem, for files that label many images.
            size: (height, width) of the image.

        Returns:
            Boxes (N, 4) xyxy in pixels within the image, labels (N,).

        Raises:
            LabelError: If the file is malformed, or holds an unknown class and `unknown` is `error`.
        """
        names = class_list(path.parent) if path.suffix.lower() == ".txt" else None
        key = (path, stem, size, file_state(path), names)
        if key not in self._known:
            self._known[key] = self._read(path, stem, size)
        known = self._known[key]
        return {"boxes": known["boxes"].clone(), "labels": known["labels"].clone()}

    def _read(self, path: Path, stem: str, size: tuple[int, int]) -> Targets:
        kept = []
        labels = []
        for entry in self._parse(path, stem, size):
            label = class_index(entry.name, self.classes)
            if label is None:
                self._refuse(path, entry.name)
                continue
            left, right = (min(max(value, 0.0), float(size[1])) for value in entry.box[::2])
            top, bottom = (min(max(value, 0.0), float(size[0])) for value in entry.box[1::2])
            if min(right - left, bottom - top) >= max(self.minimum_side, 1e-6):
                kept.append((left, top, right, bottom))
                labels.append(label)
            else:
                self._drop(path, entry, size)
        if not kept:
            return empty_targets()
        return {"boxes": torch.tensor(kept, dtype=torch.float32), "labels": torch.tensor(labels, dtype=torch.int64)}

    def _parse(self, path: Path, stem: str, size: tuple[int, int]) -> list[LabeledBox]:
        suffix = path.suffix.lower()
        if suffix == ".xml":
            return parse_voc(path)
        if suffix == ".txt":
            return parse_yolo(path, self.yolo_names, size)
        if suffix == ".json":
            return parse_coco(path, stem)
        raise LabelError(f"'{path}' is none of the known label formats ({' '.join(LABEL_FORMATS.values())}).")

    def _refuse(self, path: Path, name: str) -> None:
        if self.unknown == "error":
            raise LabelError(
                f"'{path}' holds an object of class '{name}', which is none of {', '.join(self.classes)}. Correct the "
                f"label, or set `reading.unknown_labels` to 'ignore' to leave such objects out."
            )
        self.ignored[name] += 1

    def _drop(self, path: Path, entry: LabeledBox, size: tuple[int, int]) -> None:
        self.dropped += 1
        if self.dropped == 1:
            corners = ", ".join(f"{value:g}" for value in entry.box)
            logger.warning(
                "'%s': of the box (%s) of class '%s' less than %g pixel(s) lie within the image (%dx%d). Such "
                "boxes are left out (reading.minimum_box_side); `ivif data check` counts them.",
                path, corners, entry.name, self.minimum_side, size[1], size[0],
            )  # fmt: skip
