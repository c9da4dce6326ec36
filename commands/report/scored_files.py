"""Which files `ivif report score` scores: source pairs, and the fused pictures of each method, by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ivif.callbacks.detection_files import RESULTS
from ivif.callbacks.prediction_writer import RECORD
from ivif.commands.errors import UsageError
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.files.names import UTF8_REMEDY, is_utf8
from ivif.files.pictures import MAX_PIXELS


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
        infrared: Folder.
        visible: Folder.
        fused: One folder per method, each called after its last parts that tell it from the others.
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
    sources = [_named_files(folder, pattern, problems) for folder in (infrared, visible)]
    names = sorted(sources[0].keys() & sources[1].keys())
    for own, other, folder in ((sources[0], sources[1], visible), (sources[1], sources[0], infrared)):
        problems += [f"{path}: no file '{name}' in {folder}" for name, path in own.items() if name not in other]
    if not names:
        examples = [next(iter(source), "nothing") for source in sources]
        raise UsageError(
            f"No file of {infrared} ('{examples[0]}', ...) has the name of one in {visible} ('{examples[1]}', ...). "
            f"Give --pair a regular expression whose first group is what both have in common, e.g. --pair '(\\d+)'."
        )
    methods: dict[str, dict[str, Path]] = {}
    for label, folder in zip(_labels(fused), fused, strict=True):
        files = _named_files(folder, pattern, problems)
        missing = [name for name in names if name not in files]
        problems += [f"{folder}: no file '{name}', so {label} is not scored on it" for name in missing]
        problems += [f"{path}: no pair '{name}', left out" for name, path in files.items() if name not in set(names)]
        methods[label] = {name: files[name] for name in names if name in files}
    pairs = {name: (sources[0][name], sources[1][name]) for name in names}
    return ScoreInputs(pairs, methods, problems, max_pixels)


def _named_files(folder: Path, pattern: str | None, problems: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"There is no folder '{folder}'.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_picture = path.suffix.lower() in IMAGE_SUFFIXES
        if path.name.startswith(".") or path.name in (RECORD, RESULTS) or (path.is_dir() and not is_picture):
            continue
        if path.is_dir():
            problems.append(f"{path}: a folder, left out")
            continue
        if not is_picture:
            problems.append(f"{path}: not an image file, left out")
            continue
        if not is_utf8(path.name):
            problems.append(f"{path}: its name is not UTF-8, left out. {UTF8_REMEDY}")
            continue
        name = _name(path, pattern)
        if name is None:
            problems.append(f"{path}: does not match --pair {pattern}, left out")
        elif name in files:
            raise UsageError(f"'{files[name]}' and '{path}' have one name, '{name}'. Remove one, or change --pair.")
        else:
            files[name] = path
    return files


def _name(path: Path, pattern: str | None) -> str | None:
    if pattern is None:
        return path.stem
    try:
        match = re.search(pattern, path.stem)
    except re.error as error:
        raise UsageError(f"--pair '{pattern}' is not a regular expression: {error}.") from error
    if match is None:
        return None
    return str(match.group(1)) if match.re.groups else match.group()


def _labels(folders: Sequence[Path]) -> list[str]:
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("The same --fused folder is given twice.")
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in resolved]
