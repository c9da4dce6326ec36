"""What an import says of itself."""

import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ivif.commands.program import program
from ivif.datamodules.cameras.kinds import NO_PICTURE
from ivif.datamodules.cameras.pairing import Partners
from ivif.datamodules.datasets.pairs.records import first_of
from ivif.files.names import printable
from ivif.files.text_output import cell


@dataclass
class ImportReport:
    """What was imported, and what was left out and why."""

    pairs: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return sum(entry["pictures"] for entry in self.pairs)

    def add(self, partners: Partners, pictures: int) -> None:
        """Notes two files from which so many pairs were made."""
        self.pairs.append(
            {
                "name": partners.name,
                "infrared": str(partners.infrared.path),
                "visible": str(partners.visible.path),
                "by": partners.by,
                "frames": partners.infrared.has_frames,
                "pictures": pictures,
            }
        )

    def leave_out(self, path: Path, reason: str) -> None:
        """Notes a file that was left out, or a part of which was."""
        self.left_out.append((path, reason))

    def as_dict(self) -> dict[str, Any]:
        """All of it, of JSON's types."""
        left = [{"file": str(path), "reason": reason} for path, reason in self.left_out]
        return {"pairs": self.pairs, "left_out": left, "notes": self.notes}


def print_report(report: ImportReport, out: Path, console: Console) -> None:
    """Prints the report: how pairs were found, and the files that were left out, by their reasons."""

    def show(text: str) -> None:
        console.print(cell(text), highlight=False, soft_wrap=True)

    found = Counter(entry["by"] for entry in report.pairs)
    how = ", ".join(
        f"{number} by {by}" if by != "one file" else f"{number} in one file" for by, number in found.items()
    )
    show(f"{report.count} pairs in {out}" + (f" (partners: {how})." if how else "."))
    for note in report.notes:
        show(f"note: {note}")
    reasons: defaultdict[str, list[Path]] = defaultdict(list)
    for path, reason in report.left_out:
        reasons[reason].append(path)
    for reason, paths in sorted(reasons.items(), key=lambda entry: (entry[0] == NO_PICTURE, -len(entry[1]))):
        show(f"left out: {len(paths)} file(s) ({first_of(printable(path.name) for path in paths)}): {reason}.")
    if report.count:
        show("Look at them:")
        show(f"  {program()} data check --data folder.yaml --data.root {shlex.quote(str(out))}")
