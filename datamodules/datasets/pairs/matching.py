"""Pairs pictures by the grammar of `ivif.datamodules.datasets.pairs.names`: by name, never by position in a list."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.pairs.names import (
    Key,
    Naming,
    Picture,
    compiled,
    modality_of,
    pair_names,
    stage_of,
)
from ivif.datamodules.datasets.pairs.picture_files import Listing, list_pictures
from ivif.datamodules.datasets.pairs.records import FoundPairs, PairRecord, first_of
from ivif.files.errors import PairingError

Keyed = dict[Key, Picture]


@dataclass(frozen=True)
class Options:
    """What messages call the options that say where pictures are and how they pair.

    Args:
        infrared: The option of the infrared place.
        visible: The option of the visible place.
        pattern: The options that give a pattern; `{infrared}` and `{visible}` stand for the two places.
        pairs: The options that give a list of pairs.
    """

    infrared: str
    visible: str
    pattern: str
    pairs: str


READER_OPTIONS: Final = Options(
    "the infrared folder",
    "the visible folder",
    "--data folder.yaml --data.layout.infrared {infrared} --data.layout.visible {visible} --data.layout.pattern",
    "--data folder.yaml --data.layout.pairs",
)
"""Of readers of datasets that have a layout of their own."""

SUGGESTED: Final = (r"(\d+)", r"(\d+)\D*$", r"^([^_-]+)", r"([^_-]+)$")
"""Patterns that are tried where nothing pairs: a message advises one that works."""


def match_folders(infrared: Path, visible: Path, pattern: str = "", options: Options = READER_OPTIONS) -> FoundPairs:
    """Pairs the images of two places.

    Args:
        infrared: Folder of the infrared images, or one of them.
        visible: Folder of the visible images, or one of them; the same folder where it holds both.
        pattern: Regular expression that finds what partners share; empty: they have the same stem.
        options: What messages call the options.

    Returns:
        Pairs in the order of their keys, and the files left over.

    Raises:
        PairingError: If a place holds no images, two files of one place share a key, nothing pairs up, or a picture
            would be its own partner.
    """
    listings = list_pictures(infrared), list_pictures(visible)
    for listing in listings:
        listing.refuse_nameless()
        _refuse_empty(listing)
    return match_listings(*listings, pattern, options)


def match_listings(infrared: Listing, visible: Listing, pattern: str, options: Options) -> FoundPairs:
    """Pairs the pictures of two places that hold some; two files are a pair whatever they are called.

    Raises:
        PairingError: As `match_folders`.
    """
    if infrared.place.resolve() == visible.place.resolve():
        if (both := match_below(infrared.place, pattern, options)) is None:
            raise _one_place(infrared.place, options)
        return both
    namings = _namings(pattern, options)
    folders = [listing.place.is_dir() for listing in (infrared, visible)]
    if any(folders):
        found = _match(namings, (infrared.pictures, visible.pictures, ()), (infrared.place, visible.place), options)
        if not all(folders):  # a single picture says which of the folder's is meant
            return FoundPairs(found.records)
    else:
        one, other = infrared.pictures[0], visible.pictures[0]
        shared = (each for each in namings if (key := each.key(one.path)) and key == each.key(other.path))
        key = next(shared, Naming()).spelled(other.path) or (other.path.stem,)
        found = FoundPairs(_records([(key, one, other)], options))
    found.unread.extend(infrared.unread + visible.unread)
    found.passed_over.extend(infrared.passed_over + visible.passed_over)
    return found


def match_below(root: Path, pattern: str, options: Options) -> FoundPairs | None:
    """Pairs the images of one folder that holds both modalities; None where nothing says which is which.

    Raises:
        PairingError: As `match_folders`.
    """
    listing = list_pictures(root, below=True)
    listing.refuse_nameless()
    said: dict[str | None, list[Picture]] = {"infrared": [], "visible": [], None: []}
    for picture in listing.pictures:
        said[modality_of(picture.folders, picture.path.stem)].append(picture)
    infrared, visible, unmarked = said["infrared"], said["visible"], said[None]
    if sum(map(bool, (infrared, visible, unmarked))) < 2 or not (infrared or visible):
        return None
    found = _match(_namings(pattern, options), (infrared, visible, unmarked), (root, root), options)
    found.unread.extend(listing.unread)
    return found


def _namings(pattern: str, options: Options) -> tuple[Naming, ...]:
    """What counts as key, best first."""
    expression = compiled(pattern, _asked(options))
    return (Naming(expression),) if expression else (Naming(), Naming(words=False))


def _asked(options: Options) -> str:
    return options.pattern.rpartition(" ")[2]


def _match(
    namings: Sequence[Naming],
    sides: tuple[Sequence[Picture], Sequence[Picture], Sequence[Picture]],
    places: tuple[Path, Path],
    options: Options,
) -> FoundPairs:
    """Pairs infrared and visible pictures, and what may be either, by the first naming that pairs any."""
    for naming in namings:
        infrared, lost_infrared = _by_key(sides[0], naming, options)
        visible, lost_visible = _by_key(sides[1], naming, options)
        unmarked: dict[Key, Picture] = {}
        for picture in sides[2]:
            if key := naming.key(picture.path, picture.folders):
                unmarked.setdefault(key, picture)
        taken = _take_partners(infrared, visible, unmarked)
        shared = sorted(infrared.keys() & visible.keys())
        if not shared:
            continue
        spelled = [naming.spelled(visible[key].path, visible[key].folders) or key for key in shared]
        rows = [(name, infrared[key], visible[key]) for name, key in zip(spelled, shared, strict=True)]
        left = [[files[key].path for key in sorted(files.keys() - set(shared))] for files in (infrared, visible)]
        return FoundPairs(
            _records(rows, options),
            lost_infrared + left[0],
            lost_visible + left[1],
            unmarked=[picture.path for picture in sides[2] if picture not in taken],
        )
    raise _no_partner(sides, places, namings[0], options)


def _take_partners(infrared: Keyed, visible: Keyed, unmarked: Mapping[Key, Picture]) -> set[Picture]:
    """Adds to each modality the pictures of no modality that the other one lacks; returns them."""
    taken = set()
    for own, other in ((infrared, visible), (visible, infrared)):
        for key in [key for key in own if key not in other and key in unmarked]:
            other[key] = unmarked[key]
            taken.add(unmarked[key])
    return taken


def _by_key(pictures: Iterable[Picture], naming: Naming, options: Options) -> tuple[Keyed, list[Path]]:
    keyed: Keyed = {}
    without_key = []
    for picture in pictures:
        key = naming.key(picture.path, picture.folders)
        if key is None:
            without_key.append(picture.path)
        elif key in keyed:
            raise PairingError(
                f"'{keyed[key].path}' and '{picture.path}' both stand for '{'/'.join(key)}'. Keep one of them, or list "
                f"the pairs that you mean in a file ({options.pairs} FILE)."
            )
        else:
            keyed[key] = picture
    return keyed, without_key


def _records(rows: Sequence[tuple[Key, Picture, Picture]], options: Options) -> list[PairRecord]:
    for _, infrared, visible in rows:
        refuse_itself(infrared, visible, options)
    names = pair_names([key for key, _, _ in rows])
    return [
        PairRecord(name, infrared.path, visible.path, key=key, split=stage_of(key))
        for name, (key, infrared, visible) in zip(names, rows, strict=True)
    ]


def refuse_itself(infrared: Picture, visible: Picture, options: Options) -> None:
    """Refuses one file as both pictures; only what may be one is looked at twice.

    Raises:
        PairingError: Names both paths.
    """
    if infrared.inode != visible.inode and not infrared.is_link and not visible.is_link:
        return
    try:
        same = infrared.path.samefile(visible.path)
    except OSError:  # a link that leads nowhere: reading says so
        same = False
    if same:
        raise PairingError(
            f"'{infrared.path}' and '{visible.path}' are one file: a picture is not paired with itself. Let "
            f"{options.infrared} and {options.visible} name different pictures."
        )


def _refuse_empty(listing: Listing) -> None:
    if not listing.pictures:
        others = f" but {first_of(path.name for path in listing.unread)}" if listing.unread else ""
        raise PairingError(
            f"'{listing.place}' holds no images{others}. Unpack the dataset into it, or give another folder (known "
            f"endings: {' '.join(IMAGE_SUFFIXES)})."
        )


def _one_place(place: Path, options: Options) -> PairingError:
    if not place.is_dir():
        return PairingError(
            f"{options.infrared} and {options.visible} are both '{place}': a picture is not paired with itself. Name "
            f"the picture of each."
        )
    return PairingError(
        f"{options.infrared} and {options.visible} are both '{place}', where neither folders nor names tell the two "
        f"apart: a picture is not paired with itself. Give two folders, call pictures 0001_ir.png and 0001_vis.png, "
        f"or list them in a file ({options.pairs} FILE)."
    )


def _no_partner(
    sides: Sequence[Sequence[Picture]], places: tuple[Path, Path], naming: Naming, options: Options
) -> PairingError:
    examples = [first_of(picture.path.name for picture in side) or "none" for side in sides[:2]]
    pattern = next((each for each in SUGGESTED if _pairs(sides, Naming(compiled(each, "")), options)), None)
    if pattern is None:
        remedy = f"list them in a file ({options.pairs} FILE)"
    else:
        infrared, visible = (shlex.quote(str(place.resolve())) for place in places)
        asked = options.pattern.format(infrared=infrared, visible=visible)
        remedy = f"give the pattern that finds what these share ({asked} '{pattern}')"
    shares = f"is paired by the pattern '{naming.pattern.pattern}'" if naming.pattern else "shares its name"
    return PairingError(
        f"No infrared file in '{places[0]}' ({examples[0]}) {shares} with a visible file in '{places[1]}' "
        f"({examples[1]}). Partners need the same stem, or one that differs in the word for what it is (0001_ir, "
        f"0001_vis): rename them, or {remedy}."
    )


def _pairs(sides: Sequence[Sequence[Picture]], naming: Naming, options: Options) -> bool:
    """Whether a naming pairs pictures, and takes no two for one."""
    try:
        infrared, visible = (_by_key(side, naming, options)[0] for side in sides[:2])
    except PairingError:
        return False
    return bool(infrared.keys() & visible.keys())
