"""Which files `ivif report score` scores: source pairs and the fused pictures of each method, paired as readers pair.

`ivif.datamodules.datasets.pair_names` says how.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivif.callbacks.detection_files import RESULTS
from ivif.callbacks.prediction_writer import RECORD
from ivif.commands.errors import UsageError
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.pair_matching import SUGGESTED, Options, match_listings
from ivif.datamodules.datasets.pair_names import Naming, Picture, compiled, folded, path_ends
from ivif.datamodules.datasets.pair_records import FoundPairs, PairRecord, first_of
from ivif.datamodules.datasets.picture_files import Listing, list_pictures
from ivif.files.errors import PairingError
from ivif.files.names import UTF8_REMEDY
from ivif.files.pictures import MAX_PIXELS

OPTIONS: Final = Options("--infrared", "--visible", "--pair", "--data folder.yaml --data.layout.pairs")

UNPAIRED: Final = "none of its pictures"
"""How the problem begins of a folder that is no method's results for these pairs."""


@dataclass
class ScoreInputs:
    """What is to be scored.

    Attributes:
        pairs: Name -> infrared and visible file.
        methods: Method -> name -> fused file.
        problems: One line per file that could not be used; grows while files are read.
        max_pixels: Most pixels of a picture.
    """

    pairs: dict[str, tuple[Path, Path]]
    methods: dict[str, dict[str, Path]]
    problems: list[str] = field(default_factory=list)
    max_pixels: int = MAX_PIXELS


def collect(
    infrared: Path, visible: Path, fused: Sequence[Path], pattern: str | None, max_pixels: int = MAX_PIXELS
) -> ScoreInputs:
    """Pairs the files of all folders by name.

    Args:
        infrared: Folder, or one picture.
        visible: Folder, or one picture; the same folder where it holds both.
        fused: One folder, or one picture, per method, each called after its last parts that tell it from the others.
        pattern: Regular expression; its first group (or the whole match) in a file's stem is the name. Default: the
            stem.
        max_pixels: Most pixels of a picture.

    Returns:
        Pairs and methods; files without partner are among the problems.

    Raises:
        UsageError: If a folder is missing or given twice, the pattern is no regular expression, two files of one folder
            have one name, or there is no pair at all.
    """
    problems: list[str] = []
    try:
        found = source_pairs(infrared, visible, pattern or "", problems)
        methods = {
            label: fused_files(place, found.records, pattern or "", problems)
            for label, place in zip(_labels(fused), fused, strict=True)
        }
    except PairingError as error:
        raise UsageError(str(error)) from error
    pairs = {record.name: (record.infrared, record.visible) for record in found.records}
    return ScoreInputs(pairs, methods, problems, max_pixels)


def source_pairs(infrared: Path, visible: Path, pattern: str, problems: list[str]) -> FoundPairs:
    """The pairs of two places; what belongs to none is added to the problems.

    Raises:
        UsageError: If a place is missing or holds no pictures.
        PairingError: If nothing pairs up, two files of one place have one name, or a picture is its own partner.
    """
    listings = _listed(infrared, problems), _listed(visible, problems)
    found = match_listings(*listings, pattern, OPTIONS)
    problems += [f"{path}: no partner in {visible}, left out" for path in found.unmatched_infrared]
    problems += [f"{path}: no partner in {infrared}, left out" for path in found.unmatched_visible]
    problems += [f"{path}: says neither infrared nor visible, left out" for path in found.unmarked]
    problems += [f"{path}: a folder beside pictures, left out" for path in found.passed_over]
    return found


def fused_files(place: Path, records: Sequence[PairRecord], pattern: str, problems: list[str]) -> dict[str, Path]:
    """The fused picture of each pair that has one, in the order of the pairs.

    Args:
        place: The folder of a method's results, or one of them.
        records: The pairs.
        pattern: Regular expression that names pairs; empty: their stems do.
        problems: Gets a line for each picture without a pair, and each pair without a picture.

    Raises:
        UsageError: If the place is missing, or two pictures are of one pair.
        PairingError: If the pattern is no regular expression.
    """
    listing = _listed(place, problems)
    if len(records) == 1 and not place.is_dir():
        return {records[0].name: place}
    files = _of_pairs(listing.pictures, records, pattern, problems)
    if not files:
        advised = next((each for each in SUGGESTED if _would_pair(listing.pictures, records, each)), None)
        remedy = f"Give the pattern that finds what they share (--pair '{advised}')" if advised else "Rename them"
        names = first_of(picture.path.name for picture in listing.pictures)
        problems.append(f"{place}: {UNPAIRED} ({names}) has the name of a pair. {remedy}.")
    problems += [f"{place}: no picture of '{record.name}'" for record in records if files and record.name not in files]
    return {record.name: files[record.name] for record in records if record.name in files}


def _of_pairs(
    pictures: Iterable[Picture], records: Sequence[PairRecord], pattern: str, problems: list[str]
) -> dict[str, Path]:
    naming = Naming(compiled(pattern, OPTIONS.pattern))
    by_name = {record.name.casefold(): record.name for record in records}
    by_end = _unambiguous((end, record.name) for record in records for end in _ends(record))
    by_key = _unambiguous((key, record.name) for record in records for key in _keys(record, naming))
    files: dict[str, Path] = {}
    for picture in pictures:
        stem, key = picture.path.stem.casefold(), naming.key(picture.path, picture.folders)
        name = by_name.get(stem) or by_end.get(stem) or (by_key.get("_".join(key)) if key else None)
        if name is None:
            problems.append(f"{picture.path}: of no pair, left out")
        elif name not in files or picture.path.stem == name:  # predictions of before names kept their case
            files[name] = picture.path
        elif files[name].stem != name:
            raise UsageError(f"'{files[name]}' and '{picture.path}' are both of the pair '{name}'. Remove one of them.")
    return files


def _would_pair(pictures: Iterable[Picture], records: Sequence[PairRecord], pattern: str) -> bool:
    """Whether a pattern pairs the sources as before, and fused pictures with them."""
    naming = Naming(compiled(pattern, OPTIONS.pattern))
    keys = [naming.key(Path(record.visible.name)) for record in records]
    partners = [naming.key(Path(record.infrared.name)) for record in records]
    if keys != partners or None in keys or len(set(keys)) < len(keys):
        return False
    try:
        return bool(_of_pairs(pictures, records, pattern, []))
    except UsageError:
        return False


def _ends(record: PairRecord) -> set[str]:
    return {end for path in (record.visible, record.infrared) for end in path_ends(path)}


def _keys(record: PairRecord, naming: Naming) -> set[str]:
    """What a fused picture of the pair may have as key: the pair's own, or that which the pattern finds in a name."""
    keys = {"_".join(folded(record.key))}
    if naming.pattern:
        found = (naming.key(Path(name)) for name in (record.visible.name, record.infrared.name))
        keys |= {"_".join(key) for key in found if key}
    return keys


def _unambiguous(entries: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The entries whose key stands for one pair alone."""
    named: dict[str, str] = {}
    several = set()
    for key, name in entries:
        if named.setdefault(key, name) != name:
            several.add(key)
    return {key: name for key, name in named.items() if key not in several}


def _listed(place: Path, problems: list[str]) -> Listing:
    """The pictures of a place; what is none is added to the problems."""
    if not place.exists():
        raise UsageError(f"There is no folder '{place}'.")
    listing = list_pictures(place)
    others = [path for path in listing.others if path.name not in (RECORD, RESULTS)]
    problems += [f"{path}: not an image file, left out" for path in others if path.parent == place]
    problems += [f"{path}: its name is not UTF-8, left out. {UTF8_REMEDY}" for path in listing.nameless]
    if not listing.pictures:
        raise UsageError(f"'{place}' holds no pictures ({' '.join(IMAGE_SUFFIXES)}), nor does a folder below it.")
    return listing


def _labels(folders: Sequence[Path]) -> list[str]:
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("The same --fused folder is given twice.")
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in resolved]
