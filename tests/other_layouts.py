"""Tiny datasets in the layouts that FLIR ADAS, DroneVehicle, HIT-UAV, MSRS's `detection` and LabelMe have."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tests.fakes import Box, scene

FLIR_CATEGORIES: Final = {1: "person", 2: "bike", 3: "car", 18: "dog", 91: "other vehicle"}
"""Some of those of version 2; version 1.3 calls the second `bicycle`."""

SIZE: Final = (40, 48)


def write_flir_v1(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """FLIR ADAS 1.3: `train/{thermal_8_bit,RGB}`, `train/thermal_annotations.json` with the thermal names."""
    names = [f"FLIR_{number:05d}" for number in range(1, count + 1)]
    boxes = _write_pairs(
        [(root / "train" / "thermal_8_bit" / f"{n}.jpeg", root / "train" / "RGB" / f"{n}.jpg") for n in names], size
    )
    _write_coco(
        root / "train" / "thermal_annotations.json",
        {f"thermal_8_bit/{n}.jpeg": b for n, b in zip(names, boxes, strict=True)},
        size,
        {**FLIR_CATEGORIES, 2: "bicycle"},
    )
    return root


def write_flir_aligned(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """The aligned part of 1.3: `JPEGImages` of both modalities, `Annotations` called after the thermal pictures."""
    names = [f"FLIR_{number:05d}" for number in range(2, count + 2)]
    folder = root / "JPEGImages"
    boxes = _write_pairs([(folder / f"{n}_PreviewData.jpeg", folder / f"{n}_RGB.jpg") for n in names], size)
    for name, (_, *corners) in zip(names, boxes, strict=True):
        _write_xml(root / "Annotations" / f"{name}_PreviewData.xml", _upright("person", corners), size)
    return root


def write_flir_v2(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """Version 2: names share nothing, `rgb_to_thermal_vid_map.json` pairs the test videos; a `coco.json` each."""
    thermal = [f"video-4FRnNpmSmwktFJKjg-frame-{n:06d}-{'abcdefgh'[n]}eTq3MoFA3y" for n in range(count)]
    visible = [f"video-BzZspxAweF8AnKhWK-frame-{n:06d}-{'hgfedcba'[n]}8Hx2kLw9uR" for n in range(count)]
    folders = (root / "video_thermal_test", root / "video_rgb_test")
    paths = [
        (folders[0] / "data" / f"{t}.jpg", folders[1] / "data" / f"{v}.jpg")
        for t, v in zip(thermal, visible, strict=True)
    ]
    boxes = _write_pairs(paths, size)
    for folder, names in zip(folders, (thermal, visible), strict=True):
        _write_coco(
            folder / "coco.json", {f"data/{n}.jpg": b for n, b in zip(names, boxes, strict=True)}, size, FLIR_CATEGORIES
        )
    mapped = {f"{v}.jpg": f"{t}.jpg" for t, v in zip(thermal, visible, strict=True)}
    (root / "rgb_to_thermal_vid_map.json").write_text(json.dumps(mapped))
    return root


def write_drone_vehicle(root: Path, count: int = 2, size: tuple[int, int] = SIZE, border: int = 10) -> Path:
    """`train/{trainimg,trainimgr,trainlabel,trainlabelr}`: a white border, polygons, and labels of each modality."""
    names = [f"{number:05d}" for number in range(1, count + 1)]
    folder = root / "train"
    boxes = _write_pairs(
        [(folder / "trainimgr" / f"{n}.jpg", folder / "trainimg" / f"{n}.jpg") for n in names], size, border
    )
    frame = (size[0] + 2 * border, size[1] + 2 * border)
    for name, (_, left, top, right, bottom) in zip(names, boxes, strict=True):
        turned = (
            (left + right) // 2,
            top,
            right,
            (top + bottom) // 2,
            (left + right) // 2,
            bottom,
            left,
            (top + bottom) // 2,
        )
        moved = [value + border for value in turned]
        _write_xml(
            folder / "trainlabelr" / f"{name}.xml", _polygon("feright car", moved) + _polygon("car", moved), frame
        )
        _write_xml(folder / "trainlabel" / f"{name}.xml", "", frame)  # nothing is seen at night
    return root


def write_hit_uav(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """`normal_xml/{JPEGImages,Annotations}`, `normal_json/{train,annotations}`: infrared pictures alone."""
    for number in range(count):
        infrared, _, (_, *corners) = scene(number, size)
        name = f"0_100_30_0_{3280 + number:05d}"
        for place in ("normal_xml/JPEGImages", "normal_json/train"):
            _save(Image.fromarray(infrared), root / place / f"{name}.jpg")
        _write_xml(root / "normal_xml" / "Annotations" / f"{name}.xml", _upright("Car", corners), size)
    return root


def write_msrs_detection(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """`detection/{ir,vi,labels}`: 80 pairs under MFNet's numbers, apart from `train` and `test`."""
    names = [str(number) for number in range(1, count + 1)]
    folder = root / "detection"
    boxes = _write_pairs([(folder / "ir" / f"{n}.png", folder / "vi" / f"{n}.png") for n in names], size)
    (folder / "labels").mkdir()
    for number, (name, (_, left, top, right, bottom)) in enumerate(zip(names, boxes, strict=True)):
        values = (
            (left + right) / 2 / size[1],
            (top + bottom) / 2 / size[0],
            (right - left) / size[1],
            (bottom - top) / size[0],
        )
        line = " ".join(f"{value:.6f}" for value in values)
        (folder / "labels" / f"{name}.txt").write_text(f"{2 * (number % 2)} {line}\n")
    return root


def write_kaist(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """`images/set00/V000/{lwir,visible}`, `annotations-xml/set00/V000`: corner and size, a person and a crowd each."""
    names = [f"I{1216 + 20 * number:05d}" for number in range(count)]
    folder = root / "images" / "set00" / "V000"
    boxes = _write_pairs([(folder / "lwir" / f"{n}.jpg", folder / "visible" / f"{n}.jpg") for n in names], size)
    for name, (_, left, top, right, bottom) in zip(names, boxes, strict=True):
        place = f"<bndbox><x>{left}</x><y>{top}</y><w>{right - left}</w><h>{bottom - top}</h></bndbox>"
        crowd = "<bndbox><x>30</x><y>20</y><w>15</w><h>18</h></bndbox>"
        objects = f"<object><name>person</name>{place}</object><object><name>people</name>{crowd}</object>"
        _write_xml(root / "annotations-xml" / "set00" / "V000" / f"{name}.xml", objects, size)
    return root


def write_labelme(folder: Path, boxes: Mapping[str, Sequence[Box]], size: tuple[int, int] = SIZE) -> Path:
    """One json per picture, each object as a rectangle."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, objects in boxes.items():
        shapes: list[dict[str, Any]] = [
            {
                "label": label,
                "points": [[left, top], [right, bottom]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for label, left, top, right, bottom in objects
        ]
        content: dict[str, Any] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"..\\vi\\{name}.png",
            "imageData": None,
            "imageHeight": size[0],
            "imageWidth": size[1],
        }
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def _write_pairs(paths: Sequence[tuple[Path, Path]], size: tuple[int, int], border: int = 0) -> list[Box]:
    """Infrared and visible pictures, in a white border; the box in each, counted from inside the border."""
    boxes = []
    for number, (infrared_path, visible_path) in enumerate(paths):
        infrared, visible, box = scene(number, size)
        for pixels, path in ((infrared, infrared_path), (visible, visible_path)):
            picture = Image.fromarray(pixels).convert("RGB")
            framed = Image.new("RGB", (size[1] + 2 * border, size[0] + 2 * border), "white")
            framed.paste(picture, (border, border))
            _save(framed, path)
        boxes.append(box)
    return boxes


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=95)


def _upright(name: str, corners: Sequence[int]) -> str:
    values = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{values}</bndbox></object>"


def _polygon(name: str, corners: Sequence[int]) -> str:
    tags = [f"{axis}{number}" for number in range(1, 5) for axis in "xy"]
    values = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners, strict=True))
    return f"<object><name>{name}</name><difficult>0</difficult><polygon>{values}</polygon></object>"


def _write_xml(path: Path, objects: str, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    declared = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    path.write_text(f"<annotation>{declared}{objects}</annotation>\n")


def _write_coco(path: Path, boxes: Mapping[str, Box], size: tuple[int, int], categories: Mapping[int, str]) -> None:
    """One object per picture, a person and a car in turn."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (_, left, top, right, bottom)) in enumerate(boxes.items()):
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        box = [left, top, right - left, bottom - top]
        annotations.append(
            {"id": number, "image_id": number, "category_id": (1, 3)[number % 2], "bbox": box, "iscrowd": 0}
        )
    known = [{"id": index, "name": name, "supercategory": "unknown"} for index, name in categories.items()]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": known}))
