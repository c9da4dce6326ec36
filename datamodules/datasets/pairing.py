"""Which infrared file belongs to which visible file: by name, never by position in a sorted list."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.files.errors import PairingError, SplitError
from ivif.files.names import UTF8_REMEDY, is_utf8, printable

T = TypeVar("T")

INFRARED_FOLDERS: Final = ("ir", "infrared", "Ir", "IR", "thermal", "inf", "lwir")
VISIBLE_FOLDERS: Final = ("vi", "visible", "Vis", "VIS", "vis", "rgb", "visual")
"""Spellings that users have, found in any case."""

OTHER_SUFFIXES: Final = ("", ".txt", ".xml", ".json", ".csv", ".md", ".db", ".ini")
"""Endings of what lies beside images and is none: labels, notes, what systems leave behind."""


@dataclass(frozen=True)
class PairRecord:
    """One pair on disk: `name` is unique within its dataset; `label` is None where the pair has no label file.

    `label_names` is the image whose name led to the label: the label is read by it, and its boxes are of its size.
    """

    name: str
    infrared: Path
    visible: Path
    label: Path | None = None
    label_names: Literal["visible", "infrared"] = "visible"


@dataclass(frozen=True)
class PairingReport:
    """What did not pair up when a dataset's folders were read.

    Args:
        unmatched_infrared: Infrared files without a visible partner.
        unmatched_visible: Visible files without an infrared partner.
        unlabelled: Names of pairs without a label file, where other pairs have one.
        unread: Files beside the images whose ending is none that is read.
        stray_labels: Label files that belong to no pair.
    """

    unmatched_infrared: tuple[Path, ...] = ()
    unmatched_visible: tuple[Path, ...] = ()
    unlabelled: tuple[str, ...] = ()
    unread: tuple[Path, ...] = ()
    stray_labels: tuple[Path, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file found its partner."""
        return not self.unmatched_infrared and not self.unmatched_visible

    def describe(self) -> str:
        """One line: how many files lack a partner, and the first of them."""
        parts = []
        for kind, partner, files in (
            ("infrared", "visible", self.unmatched_infrared),
            ("visible", "infrared", self.unmatched_visible),
        ):
            if files:
                parts.append(f"{len(files)} {kind} file(s) without {partner} partner ({_first(map(str, files))})")
        return "; ".join(parts) or "every file has its partner"

    def describe_unused(self) -> list[str]:
        """A line each for files that are not read, and for labels without a pair."""
        lines = []
        if self.unread:
            known = " ".join(IMAGE_SUFFIXES)
            lines.append(f"{len(self.unread)} file(s) of other endings than {known} ({_first(map(str, self.unread))})")
        if self.stray_labels:
            files = _first(map(str, self.stray_labels))
            lines.append(f"{len(self.stray_labels)} label file(s) whose name is that of no pair ({files})")
        return lines


@dataclass(frozen=True)
class FoundPairs:
    """The pairs of a layout and the files left over; `+` joins the parts of several splits."""

    records: list[PairRecord] = field(default_factory=list)
    unmatched_infrared: list[Path] = field(default_factory=list)
    unmatched_visible: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    stray_labels: list[Path] = field(default_factory=list)

    def __add__(self, other: "FoundPairs") -> "FoundPairs":
        return FoundPairs(
            self.records + other.records,
            self.unmatched_infrared + other.unmatched_infrared,
            self.unmatched_visible + other.unmatched_visible,
            self.unread + other.unread,
            self.stray_labels + other.stray_labels,
        )


def find_child(folder: Path, spellings: Sequence[str]) -> Path | None:
    """The first sub-folder spelled as one of `spellings`: exactly if there is one, else in any case."""
    if not folder.is_dir():
        return None
    children = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir()}
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
            f"{len(missing)} of {len(wanted)} names are not among the {len(known)} {what}: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}."
        )
    return [known[name] for name in wanted]


def list_files(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Files with one of `suffixes` (any case) in `folder`, sorted; hidden files are left out.

    Raises:
        PairingError: If the name of one is no text: nothing could be written of it.
    """
    files = sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() in suffixes and not entry.name.startswith(".")
    )
    for file in files:
        if not is_utf8(file.name):
            raise PairingError(f"'{printable(file)}': the file's name is not UTF-8. {UTF8_REMEDY}")
    return files


def list_unread(folder: Path) -> list[Path]:
    """Files in `folder` that may be images of a format that is not read, sorted."""
    known = (*IMAGE_SUFFIXES, *OTHER_SUFFIXES)
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() not in known and not entry.name.startswith(".") and entry.is_file()
    )


def stem_key(path: Path) -> str:
    """What two partners share: the name without its extension, in lower case."""
    return path.stem.casefold()


def pattern_key(pattern: str) -> Callable[[Path], str]:
    """A key function from a regular expression whose one group captures what partners share.

    Raises:
        PairingError: If the expression is malformed or has not exactly one group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise PairingError(f"The pairing pattern '{pattern}' is not a regular expression: {error}.") from error
    if expression.groups != 1:
        raise PairingError(
            f"The pairing pattern '{pattern}' has {expression.groups} groups; it needs exactly one, which captures "
            f"what the infrared and the visible name share, e.g. '(\\d+)' (write other groups as '(?:...)')."
        )

    def key(path: Path) -> str:
        found = expression.search(path.name)
        return found.group(1).casefold() if found else ""

    return key


def match_folders(
    infrared_folder: Path,
    visible_folder: Path,
    key: Callable[[Path], str] = stem_key,
    name: Callable[[Path], str] = lambda visible: visible.stem,
) -> FoundPairs:
    """Pairs the images of two folders.

    Args:
        infrared_folder: Holds the infrared images.
        visible_folder: Holds the visible images.
        key: What partners share; an empty key never pairs.
        name: A pair's name, from its visible file.

    Returns:
        Pairs in the order of their keys, and the files left over.

    Raises:
        PairingError: If a folder holds no images, two files of one folder share a key, or nothing pairs up.
    """
    infrared, lost_infrared = _by_key(infrared_folder, key)
    visible, lost_visible = _by_key(visible_folder, key)
    shared = sorted(infrared.keys() & visible.keys())
    if not shared:
        raise PairingError(
            f"No infrared file in '{infrared_folder}' ({_first(path.name for path in infrared.values())}) shares its "
            f"name with a visible file in '{visible_folder}' ({_first(path.name for path in visible.values())}). "
            f"Partners need the same stem; for other names use the folder dataset with a pattern."
        )
    return FoundPairs(
        [PairRecord(name(visible[entry]), infrared[entry], visible[entry]) for entry in shared],
        lost_infrared + [infrared[entry] for entry in sorted(infrared.keys() - visible.keys())],
        lost_visible + [visible[entry] for entry in sorted(visible.keys() - infrared.keys())],
        list_unread(infrared_folder) + list_unread(visible_folder),
    )


def _by_key(folder: Path, key: Callable[[Path], str]) -> tuple[dict[str, Path], list[Path]]:
    files = list_files(folder)
    if not files:
        others = f" but {_first(path.name for path in unread)}" if (unread := list_unread(folder)) else ""
        raise PairingError(
            f"'{folder}' holds no images{others}. Unpack the dataset into it, or give another folder (known endings: "
            f"{' '.join(IMAGE_SUFFIXES)})."
        )
    keyed: dict[str, Path] = {}
    without_key = []
    for file in files:
        entry = key(file)
        if not entry:
            without_key.append(file)
        elif entry in keyed:
            raise PairingError(
                f"'{keyed[entry].name}' and '{file.name}' in '{folder}' both stand for '{entry}'. Keep one of them, or "
                f"use a pattern that tells them apart."
            )
        else:
            keyed[entry] = file
    return keyed, without_key


def _first(entries: Iterable[str], count: int = 3) -> str:
    listed = list(entries)
    return ", ".join(listed[:count]) + (", ..." if len(listed) > count else "")
