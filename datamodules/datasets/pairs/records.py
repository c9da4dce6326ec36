"""What pairing finds: the pairs of a dataset, and what it leaves over."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.pairs.names import Modality
from ivif.datamodules.datasets.prompt_files import Origin
from ivif.files.errors import PairingError


@dataclass(frozen=True)
class PairRecord:
    """One pair on disk.

    Args:
        name: Unique within its dataset.
        infrared: The infrared file.
        visible: The visible file.
        label: The label file; None where the pair has none.
        label_names: The image whose name led to the label: the label is read by it, and its boxes are of its size.
        key: Folders and stem that the two files share, as the visible one spells them (`pair_names`).
        split: The official split that the pair belongs to: `train`, `val` or `test`; empty where nothing says so.
        prompt: The prompt that a pair list gives it, or that it was packed with.
        origin: How that was made, where a packed dataset knows.
        sequence: The sequence that it is of, where a packed dataset says it; None where name or key tell.
    """

    name: str
    infrared: Path
    visible: Path
    label: Path | None = None
    label_names: Modality = "visible"
    key: tuple[str, ...] = ()
    split: str = ""
    prompt: str | None = None
    origin: Origin | None = None
    sequence: str | None = None


@dataclass(frozen=True)
class PairingReport:
    """What did not pair up when a dataset's folders were read.

    Args:
        unmatched_infrared: Infrared files without a visible partner.
        unmatched_visible: Visible files without an infrared partner.
        unlabelled: Names of pairs without a label file, where other pairs have one.
        unread: Files beside the images whose ending is none that is read.
        stray_labels: Label files that are read for no pair: of no pair's name, or beside the one that is read.
        unmarked: Pictures in a folder of both modalities of which nothing says which they are.
        passed_over: Folders with pictures that were not looked into, because pictures lie beside them.
    """

    unmatched_infrared: tuple[Path, ...] = ()
    unmatched_visible: tuple[Path, ...] = ()
    unlabelled: tuple[str, ...] = ()
    unread: tuple[Path, ...] = ()
    stray_labels: tuple[Path, ...] = ()
    unmarked: tuple[Path, ...] = ()
    passed_over: tuple[Path, ...] = ()

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
                parts.append(f"{len(files)} {kind} file(s) without {partner} partner ({first_of(map(str, files))})")
        return "; ".join(parts) or "every file has its partner"

    def describe_unused(self) -> list[str]:
        """A line each for files and folders that are not read, and for labels without a pair."""
        known = " ".join(IMAGE_SUFFIXES)
        counted = (
            (self.unread, f"file(s) of other endings than {known}"),
            (self.stray_labels, "label file(s) of no pair's name, or beside another label of the same pair"),
            (self.unmarked, "picture(s) that neither a folder nor a name calls infrared or visible"),
            (self.passed_over, "folder(s) of pictures that have pictures beside them"),
        )
        return [f"{len(files)} {what} ({first_of(map(str, files))})" for files, what in counted if files]


@dataclass(frozen=True)
class FoundPairs:
    """The pairs of a layout and the files left over; `+` joins the parts of several splits."""

    records: list[PairRecord] = field(default_factory=list)
    unmatched_infrared: list[Path] = field(default_factory=list)
    unmatched_visible: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    stray_labels: list[Path] = field(default_factory=list)
    unmarked: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)

    def __add__(self, other: "FoundPairs") -> "FoundPairs":
        return FoundPairs(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def first_of(entries: Iterable[str], count: int = 3) -> str:
    """The first of some entries, as text."""
    listed = list(entries)
    return ", ".join(listed[:count]) + (", ..." if len(listed) > count else "")


def by_name(records: Iterable[PairRecord]) -> list[PairRecord]:
    """Pairs in the order of their names.

    Raises:
        PairingError: If two have one name but for case: results of both would be one file on some systems.
    """
    ordered = sorted(records, key=lambda record: record.name)
    for previous, record in pairwise(sorted(ordered, key=lambda record: record.name.casefold())):
        if previous.name.casefold() == record.name.casefold():
            raise PairingError(
                f"Two pairs are called '{record.name}': '{previous.visible}' and '{record.visible}'. Names must be "
                f"unique within a dataset, in any case: rename one, or use one split at a time."
            )
    return ordered
