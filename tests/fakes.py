"""Tiny datasets in every official layout, deterministic by seed, with the faults that real copies have."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

M3FD_CLASSES: Final = ("People", "Car", "Bus", "Lamp", "Motorcycle", "Truck")
MSRS_CLASSES: Final = ("person", "bicycle", "car")

Pixels = NDArray[Any]
Box = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class Faults:
    """What is wrong or unusual: the first pair has the faults of files and labels, the last one lacks its partner.

    `thermal_16_bit`, `grey_*` and `infrared_scale` hold for every pair.
    """

    truncated: bool = False
    empty_file: bool = False
    not_an_image: bool = False
    missing_infrared: bool = False
    missing_visible: bool = False
    unknown_class: bool = False
    malformed_label: bool = False
    empty_label: bool = False
    missing_label: bool = False
    thermal_16_bit: bool = False
    grey_visible: bool = False
    grey_in_rgb: bool = False
    exif_rotation: bool = False
    infrared_scale: float = 1.0


NO_FAULTS: Final = Faults()


def scene(seed: int, size: tuple[int, int]) -> tuple[Pixels, Pixels, Box]:
    """Infrared (H, W) and visible (H, W, 3), uint8, and one box (xyxy) that is bright in infrared, red in visible."""
    height, width = size
    rng = np.random.default_rng(seed)
    visible = rng.integers(20, 120, (height, width, 3), dtype=np.uint8)
    infrared = rng.integers(0, 60, (height, width), dtype=np.uint8)
    left, top = int(rng.integers(1, width // 3)), int(rng.integers(1, height // 3))
    right, bottom = left + width // 3, top + height // 2
    infrared[top:bottom, left:right] = 240
    visible[top:bottom, left:right] = (220, 30, 30)
    return infrared, visible, ("", left, top, right, bottom)


def skip_without_ycbcr(name: str) -> None:
    """Skips what is named after YCbCr with a Pillow that refuses a TIFF of it, even its own: one before 13."""
    if "ycbcr" in name.lower() and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip(f"Pillow {PIL.__version__} refuses TIFF files of YCbCr")


def write_m3fd(
    root: Path,
    count: int = 4,
    size: tuple[int, int] = (40, 48),
    seed: int = 0,
    faults: Faults = NO_FAULTS,
    folders: tuple[str, str, str] = ("Ir", "Vis", "Annotation"),
    yolo: bool = True,
) -> Path:
    """`Ir Vis Annotation` (+ `labels` where `yolo`); an empty third folder name leaves VOC out. Returns `root`."""
    names = _names("{:05d}", count)
    boxes = _write_pairs((root / folders[0], root / folders[1]), names, size, seed, faults, "RGB")
    named = _named(boxes, M3FD_CLASSES)
    if folders[2]:
        _write_voc(root / folders[2], named, size, faults)
    if yolo:
        _write_yolo(root / "labels", named, M3FD_CLASSES, size, faults)
    return root


def write_msrs(
    root: Path,
    count: int = 3,
    size: tuple[int, int] = (40, 48),
    seed: int = 0,
    faults: Faults = NO_FAULTS,
    splits: Sequence[str] = ("train", "test"),
) -> Path:
    """`{train,test}/{ir,vi}`, `detection_labels/{fusion,infrared,visible}/{train,test}`.

    Faults go to the first split. The three kinds of labels differ: `infrared` calls every object a person, `visible`
    has none.
    """
    for number, split in enumerate(splits):
        own = faults if number == 0 else NO_FAULTS
        names = [f"{name}{'DN'[number % 2]}" for name in _names("{:05d}", count, 1 + 100 * number)]
        folders = (root / split / "ir", root / split / "vi")
        named = _named(_write_pairs(folders, names, size, seed + 100 * number, own, "L"), MSRS_CLASSES)
        labels = root / "detection_labels"
        _write_yolo(labels / "fusion" / split, named, MSRS_CLASSES, size, own)
        persons: dict[str, list[Box]] = {name: [("person", *box[1:]) for box in found] for name, found in named.items()}
        _write_yolo(labels / "infrared" / split, persons, MSRS_CLASSES, size, own)
        _write_yolo(labels / "visible" / split, {name: [] for name in named}, MSRS_CLASSES, size, NO_FAULTS)
    return root


def write_roadscene(
    root: Path,
    count: int = 4,
    size: tuple[int, int] = (40, 48),
    seed: int = 0,
    faults: Faults = NO_FAULTS,
    raw: bool = True,
) -> Path:
    """`cropinfrared crop_LR_visible`; `raw` adds `infrared crop_HR_visible`, the latter twice as large."""
    names = _names("FLIR_{:05d}", count, 6)
    _write_pairs((root / "cropinfrared", root / "crop_LR_visible"), names, size, seed, faults, "L", ".jpg")
    if raw:
        half = replace(NO_FAULTS, infrared_scale=0.5)
        large = (2 * size[0], 2 * size[1])
        _write_pairs((root / "infrared", root / "crop_HR_visible"), names, large, seed, half, "L", ".jpg")
    return root


def write_tno(
    root: Path, count: int = 4, size: tuple[int, int] = (37, 51), seed: int = 0, faults: Faults = NO_FAULTS
) -> Path:
    """`ir vi`: both grey, in three channels."""
    grey = replace(faults, grey_in_rgb=True)
    _write_pairs((root / "ir", root / "vi"), _names("{:02d}", count, 1), size, seed, grey, "RGB")
    return root


def write_llvip(
    root: Path, count: int = 3, size: tuple[int, int] = (40, 48), seed: int = 0, faults: Faults = NO_FAULTS
) -> Path:
    """`{infrared,visible}/{train,test}`, `Annotations`; train infrared as RGB, test as one channel; faults in train."""
    for split, template, mode in (("train", "01{:04d}", "RGB"), ("test", "19{:04d}", "L")):
        own = faults if split == "train" else NO_FAULTS
        folders = (root / "infrared" / split, root / "visible" / split)
        boxes = _write_pairs(folders, _names(template, count, 1), size, seed + 100 * len(mode), own, mode, ".jpg")
        _write_voc(root / "Annotations", _named(boxes, ("person",)), size, own)
    return root


def write_folder(
    root: Path,
    count: int = 4,
    size: tuple[int, int] = (40, 48),
    seed: int = 0,
    faults: Faults = NO_FAULTS,
    templates: tuple[str, str] = ("{:03d}", "{:03d}"),
    suffix: str = ".png",
    classes: Sequence[str] = ("person", "car"),
) -> Path:
    """`ir vi` named by two templates, and boxes in three formats: `voc`, `yolo` (with `classes.txt`), `coco.json`."""
    names = _names(templates[1], count)
    named = _named(_write_pairs((root / "ir", root / "vi"), names, size, seed, faults, "L", suffix), classes)
    for infrared, visible in zip(_names(templates[0], count), names, strict=True):
        partner = root / "ir" / f"{visible}{suffix}"
        if partner.exists():
            partner.rename(root / "ir" / f"{infrared}{suffix}")
    _write_voc(root / "voc", named, size, faults)
    _write_yolo(root / "yolo", named, classes, size, faults)
    (root / "yolo" / "classes.txt").write_text("\n".join(classes))
    _write_coco(root / "coco.json", named, classes, suffix)
    return root


def png_16_bit(pixels: Pixels) -> bytes:
    """A 16-bit PNG of uint16 (H, W) or (H, W, 3): PIL cannot write the latter."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).tobytes()
    stride = len(rows) // height
    raw = b"".join(b"\0" + rows[row * stride : (row + 1) * stride] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _names(template: str, count: int, first: int = 0) -> list[str]:
    return [template.format(number) for number in range(first, first + count)]


def _named(boxes: Mapping[str, Box], classes: Sequence[str]) -> dict[str, list[Box]]:
    """One object per image, the classes in turn."""
    return {name: [(classes[number % len(classes)], *box[1:])] for number, (name, box) in enumerate(boxes.items())}


def _write_pairs(
    folders: tuple[Path, Path],
    names: Sequence[str],
    size: tuple[int, int],
    seed: int,
    faults: Faults,
    infrared_mode: str,
    suffix: str = ".png",
) -> dict[str, Box]:
    boxes = {}
    for number, name in enumerate(names):
        infrared, visible, boxes[name] = scene(seed + number, size)
        infrared_image = Image.fromarray(infrared).convert(infrared_mode)
        visible_image = Image.fromarray(visible)
        if faults.grey_visible or faults.grey_in_rgb:
            visible_image = visible_image.convert("L")
        if faults.grey_in_rgb:
            visible_image = visible_image.convert("RGB")
        if faults.infrared_scale != 1.0:
            scaled = (round(size[1] * faults.infrared_scale), round(size[0] * faults.infrared_scale))
            infrared_image = infrared_image.resize(scaled)
        _save(visible_image, folders[1] / f"{name}{suffix}", rotated=faults.exif_rotation and number == 0)
        if faults.thermal_16_bit:
            deep = np.asarray(infrared_image.convert("L")).astype(np.uint16) * 100 + 7000
            (folders[0]).mkdir(parents=True, exist_ok=True)
            (folders[0] / f"{name}.png").write_bytes(png_16_bit(deep))
        else:
            _save(infrared_image, folders[0] / f"{name}{suffix}")
    _spoil(folders, names, suffix, faults)
    return boxes


def _save(image: Image.Image, path: Path, rotated: bool = False) -> None:
    """Writes an image; `rotated` stores it lying on its side, with the EXIF entry that says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if rotated:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)


def _spoil(folders: tuple[Path, Path], names: Sequence[str], suffix: str, faults: Faults) -> None:
    first = folders[1] / f"{names[0]}{suffix}"
    if faults.truncated:
        first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    if faults.empty_file:
        first.write_bytes(b"")
    if faults.not_an_image:
        first.write_text("This is no image.")
    if faults.missing_infrared:
        next(folders[0].glob(f"{names[-1]}.*")).unlink()
    if faults.missing_visible:
        next(folders[1].glob(f"{names[-1]}.*")).unlink()


def _write_voc(folder: Path, named: Mapping[str, list[Box]], size: tuple[int, int], faults: Faults) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, boxes) in enumerate(named.items()):
        objects = "".join(
            f"<object><name>{'zebra' if faults.unknown_class and number == 0 else label}</name><bndbox>"
            f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>\n"
            for label, left, top, right, bottom in ([] if faults.empty_label and number == 0 else boxes)
        )
        text = f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>\n{objects}</annotation>\n"
        (folder / f"{name}.xml").write_text(text[:-5] if faults.malformed_label and number == 0 else text)
        if faults.missing_label and number == 0:
            (folder / f"{name}.xml").unlink()


def _write_yolo(
    folder: Path, named: Mapping[str, list[Box]], classes: Sequence[str], size: tuple[int, int], faults: Faults
) -> None:
    """YOLO files as MSRS has them: double blanks, trailing blanks, no line break at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = size
    for number, (name, boxes) in enumerate(named.items()):
        lines = []
        for label, left, top, right, bottom in boxes:
            index = len(classes) if faults.unknown_class and number == 0 else list(classes).index(label)
            center = ((left + right) / 2 / width, (top + bottom) / 2 / height)
            extent = ((right - left) / width, (bottom - top) / height)
            lines.append("".join(f"{value}  " for value in (index, *center, *extent)))
        text = "\n".join(lines)
        if number == 0 and faults.malformed_label:
            text = f"{text}\n0 0.5 0.5\n"
        if number == 0 and faults.empty_label:
            text = ""
        if not (number == 0 and faults.missing_label):
            (folder / f"{name}.txt").write_text(text)


def _write_coco(path: Path, named: Mapping[str, list[Box]], classes: Sequence[str], suffix: str) -> None:
    """Category ids start at 5, so that nobody takes them for positions."""
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": list(classes).index(label) + 5,
            "bbox": [left, top, right - left, bottom - top],
        }
        for number, boxes in enumerate(named.values())
        for label, left, top, right, bottom in boxes
    ]
    images = [{"id": number, "file_name": f"vi/{name}{suffix}"} for number, name in enumerate(named)]
    categories = [{"id": index + 5, "name": label} for index, label in enumerate(classes)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
