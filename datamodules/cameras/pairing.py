"""Which files of a camera are partners: by their names, else by when and where they were taken."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from ivif.datamodules.cameras.exif import metres
from ivif.datamodules.cameras.kinds import CameraFile
from ivif.datamodules.datasets.pairs.names import Key, Naming, folded

By = Literal["one file", "name", "time", "time and place"]
Found = tuple[CameraFile, CameraFile, By]

SECONDS: Final = 2.0
"""How far apart two pictures of one moment may have been stored."""

_METRES: Final = 30.0
"""How far apart two pictures of one place may have been noted: a fast drone, and what satellites err."""

_LOOSE: Final = "pictures"
"""Folder of pictures that lie in none, where others do: a reader looks into folders only where no picture is beside."""

_TIED: Final = "several pictures were taken as near to it as each other: give partners one name"


@dataclass(frozen=True)
class Partners:
    """An infrared file and the visible one that belongs to it.

    Args:
        name: Unique, with folders: what the pair is stored as.
        infrared: The infrared file.
        visible: The visible one, which may be the same.
        by: What they were found by.
    """

    name: str
    infrared: CameraFile
    visible: CameraFile
    by: By


def find_partners(
    files: Sequence[CameraFile], seconds: float = SECONDS
) -> tuple[list[Partners], dict[CameraFile, str]]:
    """Pairs the files of a card.

    Args:
        files: What was recognised.
        seconds: Most seconds between partners that are found by time.

    Returns:
        The pairs, in the order of their files, and the reason why each other file has no partner.
    """
    infrared = [file for file in files if file.modality == "infrared"]
    visible = [file for file in files if file.modality == "visible"]
    found = _by_name(infrared, visible)
    taken = {file for pair in found for file in pair[:2]}
    found += [(file, file, "one file") for file in infrared if file.holds_both and file not in taken]
    taken |= {file for file in infrared if file.holds_both}
    free = [[file for file in side if file not in taken] for side in (infrared, visible)]
    timed, left = _by_time(free[0], free[1], seconds)
    found += timed
    taken |= {file for pair in timed for file in pair[:2]}
    for file in files:
        if file not in taken:
            left.setdefault(
                file,
                f"no {_partner(file)} picture that is free has its name, or was taken within {seconds:g} seconds of it",
            )
    found.sort(key=lambda pair: str(pair[0].path))
    names = _names([infrared for infrared, _, _ in found])
    return [Partners(name, *pair) for name, pair in zip(names, found, strict=True)], left


def _by_name(infrared: Iterable[CameraFile], visible: Iterable[CameraFile]) -> list[Found]:
    """Pairs of one key, which no third file has; a video is no partner of a picture."""
    sides = [_keyed(files) for files in (infrared, visible)]
    shared = sides[0].keys() & sides[1].keys()
    return [
        (sides[0][key][0], sides[1][key][0], "name")
        for key in sorted(shared)
        if len(sides[0][key]) == len(sides[1][key]) == 1
    ]


def _keyed(files: Iterable[CameraFile]) -> dict[tuple[Key, bool], list[CameraFile]]:
    keyed: defaultdict[tuple[Key, bool], list[CameraFile]] = defaultdict(list)
    for file in files:
        if key := _spelled(file):
            keyed[folded(key), file.has_frames].append(file)
    return keyed


def _spelled(file: CameraFile) -> Key | None:
    return Naming(words=False).spelled(file.path, file.picture.folders)


def _by_time(
    infrared: Iterable[CameraFile], visible: Iterable[CameraFile], seconds: float
) -> tuple[list[Found], dict[CameraFile, str]]:
    """Pairs the nearest in time first; where two files are as near as each other, neither is taken."""
    near = sorted(_near(infrared, visible, seconds), key=lambda entry: entry[0])
    found: list[Found] = []
    left: dict[CameraFile, str] = {}
    taken: set[CameraFile] = set()
    for _, group in groupby(near, key=lambda entry: entry[0]):
        nearest = [pair for _, pair in group if taken.isdisjoint(pair[:2])]
        counts = Counter(file for one, other, _ in nearest for file in (one, other))
        for pair in nearest:
            if counts[pair[0]] == counts[pair[1]] == 1:
                found.append(pair)
            else:
                left |= dict.fromkeys(pair[:2], _TIED)
            taken.update(pair[:2])
    return found, left


def _near(
    infrared: Iterable[CameraFile], visible: Iterable[CameraFile], seconds: float
) -> Iterator[tuple[float, Found]]:
    """Pictures of about one time, and not of two places; with how many seconds they lie apart."""
    timed = sorted(
        ((file.taken.seconds, file) for file in visible if file.taken.seconds is not None and not file.has_frames),
        key=lambda entry: entry[0],
    )
    times = [when for when, _ in timed]
    for one in infrared:
        when = one.taken.seconds
        if when is None or one.has_frames:
            continue
        for time, other in timed[bisect_left(times, when - seconds) : bisect_right(times, when + seconds)]:
            here, there = one.taken.place, other.taken.place
            if here is None or there is None:
                yield abs(time - when), (one, other, "time")
            elif metres(here, there) <= _METRES:
                yield abs(time - when), (one, other, "time and place")


def _names(files: Sequence[CameraFile]) -> list[str]:
    """What pairs are stored as: folders and stems without the words that say infrared, unique in any case."""
    keys = [_spelled(file) or (file.path.stem,) for file in files]
    shared = Counter(folded(key) for key in keys)
    unique = [
        key if shared[folded(key)] == 1 else (*key[:-1], file.path.name) for key, file in zip(keys, files, strict=True)
    ]
    below = any(len(key) > 1 or file.has_frames for key, file in zip(unique, files, strict=True))
    return [
        "/".join(key if len(key) > 1 or file.has_frames or not below else (_LOOSE, *key))
        for key, file in zip(unique, files, strict=True)
    ]


def _partner(file: CameraFile) -> str:
    return "visible" if file.modality == "infrared" else "infrared"
