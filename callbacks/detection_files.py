"""Detections of `predict` on disk: one JSON file per picture, all of them in COCO's results format, YOLO text files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ivif.callbacks.boxes import above_score, draw_boxes
from ivif.callbacks.images import save_atomically
from ivif.contracts.batch import Boxes, Detections
from ivif.files.inside import read_inside
from ivif.files.names import file_name, printable
from ivif.files.whole import write_whole

PARTS: Final = "detections"
"""Folder of the files of single pictures, beside these."""

RESULTS: Final = "detections.json"
"""All detections of a folder of pictures, as a list in COCO's results format."""

YOLO_FOLDER: Final = "labels"
CLASS_LIST: Final = "classes.txt"
DRAWN_FOLDER: Final = "boxes"

PARTS_OF_PICTURES: Final = (PARTS, YOLO_FOLDER, DRAWN_FOLDER)
"""Every folder of files that belong to single pictures, beside these."""


@dataclass(frozen=True)
class DetectionFiles:
    """What `predict` writes of detections beside `detections.json`, which holds them all.

    Args:
        yolo: Text files for YOLO, `labels/<name>.txt`, and `labels/classes.txt`.
        draw: Fused pictures with boxes, `boxes/<name>.png`.
        score: Least score of a detection in those two, in [0, 1].

    Raises:
        ValueError: If the score is out of range.
    """

    yolo: bool = False
    draw: bool = False
    score: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"boxes.score is {self.score}; it must lie in [0, 1].")

    def paths(self, picture: Path) -> list[Path]:
        """The files that belong to a fused picture."""
        folder, name = picture.parent, picture.stem
        paths = [folder / PARTS / file_name(name, ".json")]
        paths += [folder / YOLO_FOLDER / file_name(name, ".txt")] if self.yolo else []
        return paths + ([folder / DRAWN_FOLDER / picture.name] if self.draw else [])

    def write(self, found: Detections, fused: Image.Image, picture: Path, class_names: Sequence[str]) -> None:
        """Writes what was found in one picture, each file complete or not at all.

        Args:
            found: `boxes` (N, 4) xyxy pixels of the picture, `scores` (N,), `labels` (N,).
            fused: The picture.
            picture: Where it is saved.
            class_names: Name of each label.
        """
        found = {
            "boxes": found["boxes"].detach().float().cpu(),
            "scores": found["scores"].detach().float().cpu(),
            "labels": found["labels"].detach().cpu(),
        }
        entries = list(_entries(found, class_names))
        content = {"file_name": picture.name, "width": fused.width, "height": fused.height, "detections": entries}
        part = picture.parent / PARTS / file_name(picture.stem, ".json")
        write_whole(part, json.dumps(content) + "\n", durable=False)
        sure = above_score(found, self.score)
        if self.yolo:
            path = picture.parent / YOLO_FOLDER / file_name(picture.stem, ".txt")
            save_yolo(sure, (fused.height, fused.width), path, class_names)
        if self.draw:
            drawn = draw_boxes(fused.convert("RGB"), sure, class_names)
            save_atomically(drawn, picture.parent / DRAWN_FOLDER / picture.name)

    def record(self) -> str:
        """The options in one line, for the record of what made a folder."""
        return json.dumps(asdict(self))


def gather(folder: Path) -> list[Path]:
    """Writes `detections.json` of a folder and of each folder in it, from the files of single pictures.

    The list is COCO's results format, `image_id`, `category_id` (from 1, in the order of the classes), `bbox` (left,
    top, width, height in pixels) and `score`, with `file_name` and `category_name` beside them. `image_id` is the
    number that a picture's name is, if all names of the folder are different numbers, else the name.

    Returns:
        The files that were written.
    """
    written = []
    for parts in sorted([folder / PARTS, *folder.glob(f"*/{PARTS}")]):
        files = sorted(parts.glob("*.json"))
        if not files:
            continue
        contents = [json.loads(read_inside(path, folder)) for path in files]
        ids = image_ids([Path(content["file_name"]).stem for content in contents])
        results = [
            {"image_id": number, "file_name": content["file_name"], **entry}
            for number, content in zip(ids, contents, strict=True)
            for entry in content["detections"]
        ]
        path = parts.parent / RESULTS
        write_whole(path, "[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n", durable=False)
        written.append(path)
    return written


def image_ids(names: Sequence[str]) -> list[int] | list[str]:
    """COCO's `image_id` of each picture.

    Example:
        >>> image_ids(["0007", "0012"]), image_ids(["0007", "7"]), image_ids(["FLIR_1", "2"])
        ([7, 12], ['0007', '7'], ['FLIR_1', '2'])
    """
    numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
    return numbers if len(set(numbers)) == len(names) else list(names)


def yolo_text(boxes: Boxes, size: tuple[int, int]) -> str:
    """One line per box: `class x y w h`, the centre and the size in shares of the picture.

    Args:
        boxes: `boxes` (N, 4) xyxy pixels, `labels` (N,).
        size: (height, width) of the picture.
    """
    height, width = size
    lines = []
    for (left, top, right, bottom), label in zip(boxes["boxes"].tolist(), boxes["labels"].tolist(), strict=True):
        x, y, w, h = (left + right) / 2 / width, (top + bottom) / 2 / height, right - left, bottom - top
        lines.append(f"{label} {x:.6f} {y:.6f} {w / width:.6f} {h / height:.6f}\n")
    return "".join(lines)


def save_yolo(boxes: Boxes, size: tuple[int, int], path: Path, class_names: Sequence[str]) -> None:
    """Writes the text file of one picture, and beside it `classes.txt`, the names that its lines count from 0.

    Args:
        boxes: `boxes` (N, 4) xyxy pixels, `labels` (N,).
        size: (height, width) of the picture.
        path: The text file.
        class_names: Name of each label.

    Raises:
        ValueError: If the picture's own file would be the list of classes.
    """
    if path.name == CLASS_LIST:
        raise ValueError(f"A pair is named '{path.stem}', but '{path}' is the list of classes. Rename its files.")
    if not (path.parent / CLASS_LIST).is_file():
        write_whole(path.parent / CLASS_LIST, "".join(f"{name}\n" for name in class_names), durable=False)
    write_whole(path, yolo_text(boxes, size), durable=False)


def refuse_other_classes(folder: Path, class_names: Sequence[str]) -> None:
    """Refuses a folder of text files for YOLO whose `classes.txt` is another one: its numbers would mean other classes.

    Raises:
        FileExistsError: Names both lists.
        OutsideFileError: If the list is a link out of the folder.
    """
    path = folder / CLASS_LIST
    if not path.is_file():
        return
    there = read_inside(path, folder).decode(errors="replace").split("\n")
    there = [name.strip() for name in there if name.strip()]
    if there != list(class_names):
        raise FileExistsError(
            f"'{path}' lists {', '.join(map(printable, there))}, and the classes here are {', '.join(class_names)}: "
            f"one folder of labels has one list. Choose another folder, or remove the file."
        )


def _entries(found: Detections, class_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for (left, top, right, bottom), label, score in zip(
        found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True
    ):
        yield {
            "category_id": label + 1,
            "category_name": class_names[label],
            "bbox": [round(value, 3) for value in (left, top, right - left, bottom - top)],
            "score": round(score, 5),
        }
