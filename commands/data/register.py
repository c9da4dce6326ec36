"""`ivif data register`: a copy of a dataset in which infrared lies on the visible pictures, read by `folder`."""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from ivif.callbacks.detection_files import save_yolo
from ivif.commands.data.contact_sheet import evenly
from ivif.commands.data.plane_files import save_plane
from ivif.commands.data.register_planes import planes_of
from ivif.commands.errors import UsageError
from ivif.commands.program import program
from ivif.contracts.batch import Targets
from ivif.datamodules.datasets.base import PairedDataset, PairRecord
from ivif.datamodules.datasets.pairs.names import pair_names
from ivif.files.inside import read_inside, refuse_links_out
from ivif.files.names import file_name, printable
from ivif.files.whole import whole_file, write_whole
from ivif.registration import (
    DEFAULT_SETTINGS,
    Bend,
    Local,
    Registration,
    RegistrationSettings,
    bend,
    common_transform,
    move_boxes,
    register,
    stretch,
    warp,
    warp_bent,
)
from ivif.registration.geometry import Matrix, Plane, Size

Place = tuple[str, ...]
"""Folders and stem of a pair's files."""

BoxesOf = Literal["auto", "infrared", "visible"]
Refine = Literal["none", "spline"]

RECORD: Final = "registration.json"
"""In the folder: how its pairs were registered. Where it lies, nothing is registered again."""

TRANSFORMS: Final = "transforms"
_RIG_PAIRS: Final = 30
_LISTED: Final = 10
_LONGEST: Final = 200
"""Bytes of a folder's or file's name, without its ending."""


@dataclass(frozen=True)
class Options:
    """How a dataset is registered.

    Args:
        rig: Whether all pairs are of one rig: one transform, estimated over up to 30 of them.
        boxes: Which picture's objects the labels mark; auto: the visible one's, but where only the infrared file's name
            leads to them.
        settings: What is believed of a pair.
        refine: spline: infrared is bent by some pixels after the transform, where edges say so.
    """

    rig: bool = False
    boxes: BoxesOf = "auto"
    settings: RegistrationSettings = DEFAULT_SETTINGS
    refine: Refine = "none"


def register_dataset(reader: PairedDataset, out: Path, options: Options) -> int:
    """Writes `ir/`, `vi/`, `labels/` and `transforms/`; what is there of an earlier, stopped call stays.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If the pairs were registered before, or the folder is another one's.
        RigError: If the pairs do not tell one transform.
    """
    _refuse_registered(reader)
    rig = _begin(reader, out, options)
    left: list[str] = []
    for index, (record, place) in enumerate(zip(reader.records, places(reader.records), strict=True)):
        path = _file(out, TRANSFORMS, place, ".json")
        if not path.is_file():
            _register_pair(reader, index, out, place, options, rig)
        known = json.loads(read_inside(path, out))
        if not known["registered"]:
            left.append(f"{record.name}: {known['reason']}")
    for line in left[:_LISTED]:
        print(f"left as it is: {printable(line)}")
    if len(left) > _LISTED:
        print(f'... and {len(left) - _LISTED} more: "registered": false in {out / TRANSFORMS}.')
    labels = " --data.layout.labels labels" if reader.has_labels else ""
    print(
        f"{len(reader) - len(left)} of {len(reader)} pairs warped, in {out}. Look at them:\n"
        f"  {program()} data check --data folder.yaml --data.root {shlex.quote(str(out))}{labels}"
    )
    return 0


def _refuse_registered(reader: PairedDataset) -> None:
    for folder in {record.infrared.parent for record in reader.records}:
        below = folder.resolve()
        for above in below.parents:
            if (above / RECORD).exists() and below.is_relative_to(above / "ir"):
                raise UsageError(
                    f"'{printable(above)}' holds pairs that were registered already ({RECORD}): a second warp would "
                    f"only blur them. Give the pictures of the cameras."
                )


def _begin(reader: PairedDataset, out: Path, options: Options) -> Matrix | None:
    """Makes the folder's record, or compares with the one that is there; the rig's transform, where there is one."""
    path = out / RECORD
    wanted: dict[str, Any] = {"rig": options.rig, "boxes": options.boxes, "settings": asdict(options.settings)}
    if options.refine != "none":
        wanted["refine"] = options.refine
    if any(len(place) > 1 for place in places(reader.records)):
        wanted["folders"] = True  # as their pictures have them; before, files of folders lay in one
    if out.is_dir():
        refuse_links_out(out)
    if path.exists():
        known = json.loads(read_inside(path, out))
        matrix = known.pop("transform", None)
        if known != wanted:
            raise UsageError(f"'{out}' was begun with other settings: {json.dumps(known)}. Choose another --out.")
        return None if matrix is None else np.array(matrix)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {printable(out)} is there, and was not made by this command. Choose another folder.")
    rig = _common(reader, options.settings) if options.rig else None
    known = wanted if rig is None else {**wanted, "transform": rig.tolist()}
    write_whole(path, json.dumps(known, indent=2) + "\n")
    return rig


def _common(reader: PairedDataset, settings: RegistrationSettings) -> Matrix:
    chosen = evenly(len(reader), _RIG_PAIRS)
    pairs = [planes_of(reader, index)[1:] for index in chosen]
    sizes = {(infrared.shape, visible.shape) for infrared, visible in pairs}
    if len(sizes) > 1:
        raise UsageError("--rig true: the pairs are of several sizes, so not of one rig. Register each for itself.")
    found = [register(infrared, visible, settings) for infrared, visible in pairs]
    matrix = common_transform(found, _size(pairs[0][1]))
    print(f"One transform from {sum(not one.refused for one in found)} of {len(found)} pairs.")
    return matrix


def _register_pair(
    reader: PairedDataset, index: int, out: Path, place: Place, options: Options, rig: Matrix | None
) -> None:
    record = reader.records[index]
    _, infrared, visible = planes_of(reader, index)
    size = _size(visible)
    plain = stretch(size, _size(infrared))
    found = register(infrared, visible, options.settings) if rig is None else _of_rig(rig)
    local = None
    if options.refine == "spline" and (not found.refused or found.lies_well):
        local = bend(infrared, visible, found.matrix)
    bent = local.bend if local else None
    _copy(record.visible, _file(out, "vi", place, record.visible.suffix.lower()))
    if found.refused and not bent:
        _copy(record.infrared, _file(out, "ir", place, record.infrared.suffix.lower()))
    else:
        ending = ".tiff" if infrared.dtype.kind == "f" else ".png"
        save_plane(_moved_picture(infrared, found.matrix, bent, size), _file(out, "ir", place, ending))
    if reader.has_labels:
        of_infrared = options.boxes == "infrared" or (options.boxes == "auto" and record.label_names == "infrared")
        matrix = np.linalg.inv(found.matrix) @ plain if of_infrared else np.eye(3)
        targets = _moved(reader.load_targets(index), matrix, bent if of_infrared else None, size)
        save_yolo(targets, size, _file(out, "labels", place, ".txt"), reader.classes)
    told = _told(found, rig is None, (record.infrared.name, record.visible.name), (_size(infrared), size), local)
    write_whole(_file(out, TRANSFORMS, place, ".json"), json.dumps(told, indent=2) + "\n")


def _moved_picture(infrared: Plane, matrix: Matrix, bent: Bend | None, size: Size) -> Plane:
    return warp_bent(infrared, matrix, bent.everywhere(size)) if bent else warp(infrared, matrix, size)


def _of_rig(matrix: Matrix) -> Registration:
    return Registration(matrix, "", 0.0, 0.0, 0.0, 0.0, 0.0)


def _told(
    found: Registration, measured: bool, files: tuple[str, str], sizes: tuple[Size, Size], local: Local | None
) -> Mapping[str, Any]:
    """What the file of a pair says: `transform` takes pixels (x, y) of the visible to those of the infrared picture."""
    numbers = {name: round(getattr(found, name), 4) for name in ("shift", "before", "after", "rivals", "halves")}
    bent = local.bend if local else None
    told = {
        "registered": not found.refused or bool(bent),
        "reason": "" if bent else found.refused,
        "transform": found.matrix.tolist(),
        "infrared": {"file": files[0], "size": sizes[0]},
        "visible": {"file": files[1], "size": sizes[1]},
        **({"measured": numbers} if measured else {}),
    }
    if local:
        told["refined"] = {"kept": bool(bent), "reason": local.refused, "held_out_gain": round(local.gain, 4)}
    if bent:
        told["bend"] = bent.grid.tolist()
    return told


def _size(plane: Plane) -> Size:
    return plane.shape[0], plane.shape[1]


def _moved(targets: Targets, matrix: Matrix, bent: Bend | None, size: Size) -> Targets:
    then = bent.undone if bent else None
    boxes, inside = move_boxes(targets["boxes"].numpy().astype(float), matrix, size, then)
    return {"boxes": torch.from_numpy(boxes[inside]).float(), "labels": targets["labels"][torch.from_numpy(inside)]}


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as given, whole_file(target, durable=False) as stream:
        shutil.copyfileobj(given, stream)


def places(records: Sequence[PairRecord]) -> list[Place]:
    """Folders and stem of each pair's files below `ir/`, `vi/`, `labels/` and `transforms/`.

    They are those of the pictures, as splits and sequences are told by them, where the copy's pairs are then called as
    these; else, as in lists, which name pairs freely, the names alone, of which no two are equal.
    """
    keys = [record.key for record in records]
    names = [record.name for record in records]
    if all(keys) and pair_names(keys) == names:
        return [tuple(file_name(part, longest=_LONGEST) for part in key) for key in keys]
    return [(file_name(name.replace("/", "_"), longest=_LONGEST),) for name in names]


def _file(out: Path, kind: str, place: Place, ending: str) -> Path:
    return out.joinpath(kind, *place[:-1], f"{place[-1]}{ending}")


def pairs_of(readers: Sequence[object]) -> PairedDataset:
    """The one dataset of files that a command was given.

    Raises:
        UsageError: If there are several, or none of files.
    """
    from ivif.datamodules.start_checks import files_of

    found = [files for reader in readers if (files := files_of(reader)) is not None]
    if len(found) != 1 or len(readers) != 1:
        raise UsageError("`data register` takes one dataset of files: give one, such as --data folder.yaml.")
    return found[0]
