"""Which files `ivif report score` scores: source pairs and the fused pictures of each method, paired as readers pair.

`ivif.datamodules.datasets.pairs.names` says how.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from torch.utils.data import Dataset

from ivif.callbacks.detection_files import RESULTS
from ivif.callbacks.prediction_record import RECORD
from ivif.commands.errors import UsageError
from ivif.commands.report.score_inputs import Pair, Problems, ScoreInputs, read_pair, read_sample
from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.measured_range import MeasuredRange
from ivif.datamodules.datasets.pairs.matching import SUGGESTED, Options, match_listings
from ivif.datamodules.datasets.pairs.names import Naming, Picture, compiled, folded, path_ends
from ivif.datamodules.datasets.pairs.picture_files import Listing, list_pictures
from ivif.datamodules.datasets.pairs.records import FoundPairs, PairRecord, first_of
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.start_checks import files_of
from ivif.files.errors import PairingError
from ivif.files.names import UTF8_REMEDY
from ivif.files.pictures import MAX_PIXELS

OPTIONS: Final = Options("--infrared", "--visible", "--pair", "--data folder.yaml --stage all --data.layout.pairs")


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
        UsageError: If a folder is missing or given twice, the pattern is no regular expression, two sources have one
            name, or there is no pair at all.
    """
    problems = Problems()
    try:
        records = source_pairs(infrared, visible, pattern or "", problems).records
    except PairingError as error:
        raise UsageError(str(error)) from error
    measured = MeasuredRange(ReadingConfig(max_pixels=max_pixels), [record.infrared for record in records])
    read = partial(read_pair, max_pixels=max_pixels, problems=problems, measured=measured)
    pairs = {record.name: Pair(record, partial(read, record)) for record in records}
    methods, unusable = _methods(fused, {"": pairs}, pattern or "", problems)
    return ScoreInputs(pairs, methods, unusable, problems, max_pixels)


def collect_stage(
    readers: Sequence[Dataset[Sample]], fused: Sequence[Path], pattern: str | None, max_pixels: int = MAX_PIXELS
) -> ScoreInputs:
    """The pairs of a dataset's stage, as its readers give them, and their fused files.

    Where there are several datasets, pairs are called `<dataset>/<name>`, and a method's folder has one for each.

    Args:
        readers: From the datamodule.
        fused: As for `collect`; further pictures there may be those of other stages.
        pattern: As for `collect`.
        max_pixels: Most pixels of a fused picture.

    Raises:
        UsageError: If there is no pair, a folder is missing or given twice, or the pattern is no regular expression.
    """
    datasets: dict[str, dict[str, Pair]] = {}
    for reader in readers:
        dataset, files = str(reader.dataset_name), files_of(reader)  # type: ignore[attr-defined]
        for index, name in enumerate(reader.names):  # type: ignore[attr-defined]
            record = files.records[index] if files else PairRecord(name, Path(f"{name}.png"), Path(f"{name}.png"))
            key = f"{dataset}/{name}" if len(readers) > 1 else name
            datasets.setdefault(dataset, {})[key] = Pair(record, partial(read_sample, reader, index), dataset)
    pairs = {key: pair for own in datasets.values() for key, pair in own.items()}
    if not pairs:
        raise UsageError("--data has no pair in this --stage. Choose another: --stage train, val, test or all.")
    problems = Problems()
    methods, unusable = _methods(fused, datasets, pattern or "", problems)
    return ScoreInputs(pairs, methods, unusable, problems, max_pixels)


def _methods(
    fused: Sequence[Path], datasets: Mapping[str, Mapping[str, Pair]], pattern: str, problems: Problems
) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """The fused files of each method, and why those of a method cannot be used: a bad folder is left out alone."""
    labels = _labels(fused)
    for place in fused:
        if not place.exists():
            raise UsageError(f"There is no folder '{place}'.")
    try:
        compiled(pattern, OPTIONS.pattern)
    except PairingError as error:
        raise UsageError(str(error)) from error
    methods, unusable = {}, {}
    for label, place in zip(labels, fused, strict=True):
        try:
            methods[label] = _of_method(label, place, datasets, pattern, problems)
        except (UsageError, PairingError) as error:
            methods[label], unusable[label] = {}, str(error)
    return methods, unusable


def _of_method(
    label: str, place: Path, datasets: Mapping[str, Mapping[str, Pair]], pattern: str, problems: Problems
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for dataset, pairs in datasets.items():
        nested = place / dataset
        if len(datasets) > 1 and not nested.is_dir():
            continue
        names = {pair.record.name: key for key, pair in pairs.items()}
        records = [pair.record for pair in pairs.values()]
        others = problems if not dataset else Problems()  # pictures of other stages are none
        found = fused_files(nested if nested.is_dir() else place, records, pattern, others)
        files |= {names[name]: path for name, path in found.items()}
    if not files:
        raise UsageError(f"there is no folder {', '.join(datasets)} in '{place}'")
    every = [key for pairs in datasets.values() for key in pairs]
    if missing := [key for key in every if key not in files]:
        problems.add(f"missing in {label}", f"{place}: no picture of {', '.join(missing)}", len(missing))
    return files


def source_pairs(infrared: Path, visible: Path, pattern: str, problems: Problems) -> FoundPairs:
    """The pairs of two places; what belongs to none is added to the problems.

    Raises:
        UsageError: If a place is missing or holds no pictures.
        PairingError: If nothing pairs up, two files of one place have one name, or a picture is its own partner.
    """
    listings = _listed(infrared, problems), _listed(visible, problems)
    found = match_listings(*listings, pattern, OPTIONS)
    for kind, text, paths in (
        ("without a partner", f"no partner in {visible}", found.unmatched_infrared),
        ("without a partner", f"no partner in {infrared}", found.unmatched_visible),
        ("of no modality", "says neither infrared nor visible", found.unmarked),
        ("folders", "a folder beside pictures", found.passed_over),
    ):
        for path in paths:
            problems.add(kind, f"{path}: {text}, left out")
    return found


def fused_files(place: Path, records: Sequence[PairRecord], pattern: str, problems: Problems) -> dict[str, Path]:
    """The fused picture of each pair that has one, in the order of the pairs.

    Args:
        place: The folder of a method's results, or one of them.
        records: The pairs.
        pattern: Regular expression that names pairs; empty: their stems do.
        problems: Gets what is no picture, or of no pair.

    Raises:
        UsageError: If the place is missing, nothing in it is of a pair, or two pictures are of one.
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
        raise UsageError(f"none of its pictures ({names}) has the name of a pair. {remedy}.")
    return {record.name: files[record.name] for record in records if record.name in files}


def _of_pairs(
    pictures: Iterable[Picture], records: Sequence[PairRecord], pattern: str, problems: Problems
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
            problems.add("of no pair", f"{picture.path}: of no pair, left out")
        elif name not in files:
            files[name] = picture.path
        elif (picture.path.stem == name) == (files[name].stem == name):
            raise UsageError(f"'{files[name]}' and '{picture.path}' are both of the pair '{name}'. Remove one of them.")
        elif picture.path.stem == name:  # beside predictions of before names kept their case
            files[name] = picture.path
    return files


def _would_pair(pictures: Iterable[Picture], records: Sequence[PairRecord], pattern: str) -> bool:
    """Whether a pattern pairs the sources as before, and fused pictures with them."""
    naming = Naming(compiled(pattern, OPTIONS.pattern))
    keys = [naming.key(Path(record.visible.name)) for record in records]
    partners = [naming.key(Path(record.infrared.name)) for record in records]
    if keys != partners or None in keys or len(set(keys)) < len(keys):
        return False
    try:
        return bool(_of_pairs(pictures, records, pattern, Problems()))
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


def _listed(place: Path, problems: Problems) -> Listing:
    """The pictures of a place; what is none is added to the problems."""
    if not place.exists():
        raise UsageError(f"There is no folder '{place}'.")
    listing = list_pictures(place)
    others = [path for path in listing.others if path.name not in (RECORD, RESULTS)]
    for path in others:
        if path.parent == place:
            problems.add("that are no pictures", f"{path}: not an image file, left out")
    for path in listing.nameless:
        problems.add("whose names are not UTF-8", f"{path}: its name is not UTF-8, left out. {UTF8_REMEDY}")
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
