"""Seeded faults: each a small change of the code that `make test` must notice, one TOML file for each room.

`make test-mutations` makes them one by one in a clone and runs the tests that are said to catch each. They replace a
text, where a patch would fail after any change beside it; `tests/test_mutations.py` holds that each still applies.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@dataclass(frozen=True)
class Fault:
    """One change that would be wrong.

    Args:
        name: What is wrong then.
        file: Where, from the repository's root.
        before: Text that stands there once.
        after: What takes its place.
        tests: What of `make test` catches it.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Makes the change in a copy of the repository.

        Raises:
            ValueError: If the text does not stand there once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"'{self.name}': the text stands in {self.file} {text.count(self.before)} times.")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def faults() -> list[Fault]:
    """Every fault, by file and place."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["fault"]
        found += [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    return found
