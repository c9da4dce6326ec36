"""Boxes from label files, mapped to a dataset's classes by name and to the frame of its samples."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Final, Literal

import torch

from ivif.contracts.batch import Targets, empty_targets, map_targets
from ivif.datamodules.datasets.labels.class_names import class_index
from ivif.datamodules.datasets.labels.formats import (
    LABEL_FORMATS,
    Box,
    ClassLists,
    LabeledBox,
    LabeledPicture,
    class_lists,
    file_state,
    is_labelme,
    listed_classes,
    parse_coco,
    parse_labelme,
    parse_voc,
    parse_yolo,
)
from ivif.datamodules.datasets.labels.tally import LabelTally
from ivif.files.errors import LabelError
from ivif.files.names import printable

logger = logging.getLogger(__name__)

Size = tuple[int, int]
"""(height, width) in pixels."""

_SAME_SHAPE: Final = 0.01
"""By how much two frames may differ in their proportions and still show one scene: sizes are rounded."""

_ROUNDING: Final = 2.0
"""Pixels by which tools round a box beyond its picture."""


class LabelReader:
    """Reads one pair's boxes from whatever format its label file has.

    Boxes are clipped to the image; those whose shorter side is then below `minimum_side` pixels are dropped, and the
    first of them is named in a warning. Polygons and turned boxes become the boxes around them; crowds and objects that
    are hard to see become ignored regions. `tally` counts what was found. A file is parsed once per process, and again
    when it or the class list beside it has changed.

    Args:
        classes: The classes that are used; labels are positions in it.
        yolo_names: Order of the ids in this dataset's YOLO files (a list beside them wins).
        unknown: `error` stops at a class that is not known; `ignore` leaves the object out and counts it.
        minimum_side: In pixels of the image.
        declared: All classes that the labels may name, where `classes` chooses among them.
        label_classes: What the ids in YOLO files mean, as the user says it: wins over lists beside them.
        declared_sizes: `scale`: boxes of files that declare another size are scaled to the image's, or refused where
            the proportions differ; `ignore` takes all boxes as pixels of the image.
        ignored_classes: Names whose objects are ignored regions for every class; as they are written, in any case.
    """

    def __init__(
        self,
        classes: Sequence[str],
        yolo_names: Sequence[str],
        unknown: Literal["error", "ignore"] = "error",
        minimum_side: float = 1.0,
        *,
        declared: Sequence[str] = (),
        label_classes: Sequence[str] = (),
        declared_sizes: Literal["scale", "ignore"] = "scale",
        ignored_classes: Sequence[str] = (),
    ) -> None:
        if unknown not in ("error", "ignore"):
            raise ValueError(f"unknown_labels is '{unknown}'; known: error, ignore.")
        self.classes = tuple(classes)
        self.yolo_names = tuple(yolo_names)
        self.unknown = unknown
        self.minimum_side = minimum_side
        self.declared = tuple(label_classes or declared)
        self.label_classes = tuple(label_classes)
        self.declared_sizes = declared_sizes
        self.ignored_classes = frozenset(name.strip().casefold() for name in ignored_classes)
        self.tally = LabelTally()
        self._known: dict[tuple[object, ...], Targets] = {}

    def __getstate__(self) -> dict[str, object]:
        """What a loader process that is not forked gets: without the parsed files, each of them a file descriptor."""
        return {**vars(self), "_known": {}}

    def read(
        self,
        path: Path,
        stem: str,
        size: Size,
        *,
        named: Size | None = None,
        partner: str = "",
        infrared_size: Callable[[], Size] | None = None,
    ) -> Targets:
        """The objects of one image.

        Args:
            path: The label file (xml, txt or json).
            stem: The stem of the image that the label names, for files that label many images.
            size: (height, width) of the sample.
            named: (height, width) of the image that the label names, where it may be another than `size`.
            partner: The stem of the pair's other image.
            infrared_size: Reads (height, width) of the infrared image, which the label may mean although its name is
                that of both.

        Returns:
            Boxes (N, 4) xyxy in pixels of the sample and within it, labels (N,), and ignored regions, if there are any.

        Raises:
            LabelError: If the file is malformed, holds an unknown class and `unknown` is `error`, or an id that nothing
                names, or its boxes are of an image of other proportions.
        """
        lists = class_lists(path.parent) if path.suffix.lower() == ".txt" and not self.label_classes else ()
        key = (path, stem, size, named, file_state(path), lists)
        if key not in self._known:
            picture = self._parse(path, stem, size, lists)
            self.tally.channels[picture.channels] += 1
            self._compare_name(path, picture, (stem, partner))
            factors = self._factors(path, picture, size, named, infrared_size)
            self._known[key] = self._read(path, picture, size, factors)
        return map_targets(self._known[key], torch.Tensor.clone)

    def _read(self, path: Path, picture: LabeledPicture, size: Size, factors: tuple[float, float]) -> Targets:
        objects: list[tuple[Box, int]] = []
        regions: list[tuple[Box, int]] = []
        for entry in picture.boxes:
            labels = self._labels(path, entry, picture.classes)
            if not labels:
                continue
            full = [value * factors[axis] for value, axis in zip(entry.box, (0, 1, 0, 1), strict=True)]
            self._measure(path, full, size)
            left, right = (min(max(value, 0.0), float(size[1])) for value in full[::2])
            top, bottom = (min(max(value, 0.0), float(size[0])) for value in full[1::2])
            if min(right - left, bottom - top) < max(self.minimum_side, 1e-6):
                self._drop(path, entry, size)
                continue
            is_ignored = entry.ignored or self._is_ignored(entry)
            self.tally.regions += is_ignored
            (regions if is_ignored else objects).extend(((left, top, right, bottom), label) for label in labels)
        if any(entry.enclosing for entry in picture.boxes):
            self.tally.enclosing.append(f"'{printable(path)}'")
        return {**_targets(objects), "ignored": _targets(regions)} if regions else _targets(objects)

    def _labels(self, path: Path, entry: LabeledBox, listed: Sequence[str]) -> Sequence[int]:
        """An entry's label; every one, where it is of an ignored class; none, where it is left out."""
        if self._is_ignored(entry):
            return range(len(self.classes))
        label = self._label(path, entry.name, listed)
        return () if label is None else (label,)

    def _is_ignored(self, entry: LabeledBox) -> bool:
        return entry.name.strip().casefold() in self.ignored_classes

    def _parse(self, path: Path, stem: str, size: Size, lists: ClassLists) -> LabeledPicture:
        suffix = path.suffix.lower()
        if suffix == ".xml":
            return parse_voc(path)
        if suffix == ".txt":
            listed = self.label_classes or listed_classes(lists)
            picture = parse_yolo(path, listed or self.yolo_names, size)
            return LabeledPicture(picture.boxes, classes=listed)
        if suffix == ".json":
            return parse_labelme(path) if is_labelme(path) else parse_coco(path, stem)
        known = " ".join(dict.fromkeys(LABEL_FORMATS.values()))
        raise LabelError(f"'{path}' is none of the known label formats ({known}).")

    def _factors(
        self,
        path: Path,
        picture: LabeledPicture,
        size: Size,
        named: Size | None,
        infrared_size: Callable[[], Size] | None,
    ) -> tuple[float, float]:
        """By what x and y of a file's boxes are multiplied."""
        if path.suffix.lower() == ".txt":  # fractions
            frame = named or size
        else:
            frame = (picture.size if self.declared_sizes == "scale" else None) or named or size
        if frame == size:
            return 1.0, 1.0
        factor_x, factor_y = size[1] / frame[1], size[0] / frame[0]
        sizes = f"{frame[1]}x{frame[0]}", f"{size[1]}x{size[0]}"
        if abs(factor_x / factor_y - 1) > _SAME_SHAPE:
            is_infrared = infrared_size is not None and infrared_size() == frame
            raise _other_shape(path, sizes, declared=frame == picture.size and not is_infrared)
        if path.suffix.lower() == ".txt":
            return 1.0, 1.0
        self.tally.scaled.append(f"'{printable(path)}' (from {sizes[0]} to {sizes[1]})")
        return factor_x, factor_y

    def _label(self, path: Path, name: str, listed: Sequence[str]) -> int | None:
        """The position of the class that a file calls `name`; None where its objects are left out."""
        index = class_index(name, self.declared) if self.declared else None
        if index is not None:
            label = next(
                (at for at, used in enumerate(self.classes) if class_index(used, self.declared) == index), None
            )
        else:
            label = class_index(name, self.classes)
        if label is None and (index is not None or self._left_out(name, listed)):
            self.tally.unused[name] += 1
        elif label is None:
            self._refuse(path, name, listed)
        return label

    def _left_out(self, name: str, listed: Sequence[str]) -> bool:
        """Whether the file's own list has `name` beside classes that are used: one that has none of them is foreign."""
        listed = tuple(listed)
        return (
            not self.declared and name in listed and any(class_index(used, listed) is not None for used in self.classes)
        )

    def _refuse(self, path: Path, name: str, listed: Sequence[str]) -> None:
        where = f"'{path}' holds an object of class '{name}'"
        if path.suffix.lower() == ".txt" and not listed and not self.declared:
            raise LabelError(
                f"{where}, and nothing says what the ids mean: `classes` has {len(self.classes)} "
                f"({', '.join(self.classes)}). Give the names of all ids, in their order, as `label_classes` or in a "
                f"classes.txt or data.yaml beside the labels; `classes` then chooses among them."
            )
        if self.unknown == "error":
            raise LabelError(
                f"{where}, which is none of {', '.join(self.declared or self.classes)}. Correct the label, or set "
                f"`reading.unknown_labels` to 'ignore' to leave such objects out."
            )
        self.tally.ignored[name] += 1

    def _compare_name(self, path: Path, picture: LabeledPicture, stems: tuple[str, str]) -> None:
        declared = PureWindowsPath(picture.file_name)  # knows both systems' separators
        names = {declared.name.casefold(), declared.stem.casefold()}
        if picture.file_name and not names & {stem.casefold() for stem in (*stems, path.stem)}:
            self.tally.misnamed.append(f"'{printable(path)}' ('{printable(picture.file_name)[:100]}')")

    def _measure(self, path: Path, box: Sequence[float], size: Size) -> None:
        """Counts a box, in pixels of the sample, and whether it looks as if its numbers meant something else."""
        left, top, right, bottom = box
        self.tally.boxes += 1
        beyond = max(-left, -top, right - size[1], bottom - size[0])
        self.tally.beyond += beyond > _ROUNDING + 0.01 * max(size)
        begin = ((left + right) / 2, (top + bottom) / 2) if path.suffix.lower() == ".txt" else (left, top)
        pairs = path.suffix.lower() in (".txt", ".json")
        self.tally.corners += pairs and right - left > begin[0] and bottom - top > begin[1]

    def _drop(self, path: Path, entry: LabeledBox, size: Size) -> None:
        self.tally.dropped += 1
        if self.tally.dropped == 1:
            corners = ", ".join(f"{value:g}" for value in entry.box)
            logger.warning(
                "'%s': of the box (%s) of class '%s' less than %g pixel(s) lie within the image (%dx%d). Such "
                "boxes are left out (reading.minimum_box_side); `ivif data check` counts them.",
                path, corners, entry.name, self.minimum_side, size[1], size[0],
            )  # fmt: skip


def _targets(rows: Sequence[tuple[Box, int]]) -> Targets:
    if not rows:
        return empty_targets()
    boxes, labels = zip(*rows, strict=True)
    return {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels, dtype=torch.int64)}


def _other_shape(path: Path, sizes: tuple[str, str], *, declared: bool) -> LabelError:
    if declared:
        return LabelError(
            f"'{printable(path)}' declares a picture of {sizes[0]}, and its picture has {sizes[1]}: other proportions. "
            f"Correct the size in the label, or set `reading.declared_sizes` to 'ignore', which takes boxes as pixels "
            f"of the picture."
        )
    return LabelError(
        f"'{printable(path)}' labels an infrared picture of {sizes[0]}, whose boxes do not fit the visible one of "
        f"{sizes[1]}: other proportions. Cut both pictures to the scene that they share, and label that."
    )
