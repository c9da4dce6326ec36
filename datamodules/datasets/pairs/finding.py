"""Finds a dataset's folders, and pairs what lies in them (`ivif.datamodules.datasets.pairs.names` says how)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ivif.datamodules.datasets.pairs.picture_files import list_folders
from ivif.datamodules.datasets.pairs.records import first_of
from ivif.files.errors import SplitError

T = TypeVar("T")


def find_child(folder: Path, spellings: Sequence[str]) -> Path | None:
    """The first sub-folder spelled as one of `spellings`: exactly if there is one, else in any case."""
    if not folder.is_dir():
        return None
    children = {child.name: child for child in list_folders(folder)}
    for spelling in spellings:
        if spelling in children:
            return children[spelling]
    lowered = {name.casefold(): child for name, child in children.items()}
    return next((lowered[spelling.casefold()] for spelling in spellings if spelling.casefold() in lowered), None)


def candidate_roots(root: Path, names: Sequence[str], inner_folders: Sequence[str]) -> list[Path]:
    """Where a dataset may lie when `root` is a level too high or too low.

    Args:
        root: What the user gave.
        names: Names of the dataset's folder, best first, e.g. `M3FD_Detection`, `M3FD`; also what such names start
            with.
        inner_folders: Names of the dataset's sub-folders: a root called so means the folder above it.

    Returns:
        Existing folders, best first.
    """
    if not root.is_dir():
        return []
    roots = [root]
    children = [child for child in sorted(root.iterdir()) if child.is_dir()]
    for name in names:
        matches = [child for child in children if child.name.casefold().startswith(name.casefold())]
        for child in sorted(matches, key=lambda match: len(match.name)):
            roots += [child, *(nested for nested in (child / entry for entry in names) if nested.is_dir())]
    inner = {folder.casefold() for folder in inner_folders}
    level = root.resolve()
    while level.name.casefold() in inner:
        level = level.parent
        roots.append(level)
    return list(dict.fromkeys(roots))


def chosen(known: Mapping[str, T], names: Iterable[str], what: str) -> list[T]:
    """The entries of these names, in their order.

    Raises:
        SplitError: If a name is unknown; lists the first of those missing.
    """
    wanted = list(names)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise SplitError(
            f"{len(missing)} of {len(wanted)} names are not among the {len(known)} {what}: {first_of(missing, 5)}."
        )
    return [known[name] for name in wanted]


def stem_key(path: Path) -> str:
    """What two partners share: the name without its extension, in lower case."""
    return path.stem.casefold()
