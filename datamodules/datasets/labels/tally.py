"""What a reader found out about its label files, in lines for `ivif data check` and for the start of a run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_FEW: Final = 3
"""Boxes from which on something is said of their kind."""

_BEYOND: Final = 0.1
"""Share of boxes beyond their pictures from which on it is said."""

_CORNERS: Final = 0.95
"""Share of boxes that look like corners from which on, with a quarter of them beyond their pictures, it is said."""


@dataclass
class LabelTally:
    """Counts over all label files read so far.

    Attributes:
        boxes: Objects of all files.
        dropped: Boxes outside their pictures, or too small.
        beyond: Boxes that reach beyond their pictures by more than rounding.
        corners: Boxes whose extent is larger than where they begin, both ways: rare, unless these are corners.
        regions: Crowds, objects that are hard to see, and those of ignored classes.
        enclosing: Label files of whose polygons or turned boxes the boxes around them were taken: the first is told.
        ignored: Objects of unknown classes, by name.
        unused: Objects of classes that `classes` does not choose, by name.
        scaled: Label files whose boxes were scaled, with the sizes: the first is told.
        channels: Label files by the number of channels that they declare.
        misnamed: Label files that name another picture than theirs: the first is told.
    """

    boxes: int = 0
    dropped: int = 0
    beyond: int = 0
    corners: int = 0
    regions: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    enclosing: list[str] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    channels: Counter[int] = field(default_factory=Counter)
    misnamed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A line for each thing that a user should know, with what to do where something is to be done."""
        lines = []
        if self.dropped:
            lines.append(f"{self.dropped} box(es) outside the image or below reading.minimum_box_side, left out")
        if self.regions:
            lines.append(
                f"{self.regions} region(s) where finding something is neither right nor wrong (crowds, difficult, "
                f"ignored classes)"
            )
        if self.enclosing:
            lines.append(
                f"the polygons or turned boxes of {len(self.enclosing)} label file(s) are read as the upright boxes "
                f"around them, first {self.enclosing[0]}"
            )
        if self.ignored:
            lines.append(f"objects of unknown classes, left out ({_counted(self.ignored)})")
        if self.unused:
            lines.append(f"objects of classes that `classes` does not choose, left out ({_counted(self.unused)})")
        if self.scaled:
            lines.append(
                f"the boxes of {len(self.scaled)} label file(s) are scaled to their pictures' size, first "
                f"{self.scaled[0]}"
            )
        if self.misnamed:
            lines.append(
                f"{len(self.misnamed)} label(s) name another picture than theirs, first {self.misnamed[0]}; see in the "
                f"contact sheet of `ivif data check` whether boxes and pictures belong together"
            )
        return lines + self._geometry()

    def _geometry(self) -> list[str]:
        if self.boxes < _FEW:
            return []
        if self.corners >= _CORNERS * self.boxes and self.beyond >= self.boxes / 4:
            return [
                f"the boxes look like two corners (x1 y1 x2 y2) where centre, width and height (YOLO) or left, top, "
                f"width and height (COCO) are read: {self.beyond} of {self.boxes} reach beyond their pictures. Write "
                f"the labels in the order of their format"
            ]
        if self.beyond > _BEYOND * self.boxes:
            return [
                f"{self.beyond} of {self.boxes} boxes reach beyond their pictures, as those of larger pictures would. "
                f"Use the pictures that were labelled, or declare their size in the labels (VOC, COCO)"
            ]
        return []


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in names.most_common())
