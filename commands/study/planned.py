"""What a study plans: its runs, and what each is tested on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ivif.commands.parsing.named_files import find_config
from ivif.commands.study.folds import Division

AFTER: Final = "{after}"
"""In an option's value: the last checkpoint of the run that this one comes after."""


@dataclass(frozen=True)
class StudyTest:
    """A test of a run.

    Attributes:
        name: Of its folder.
        arguments: Options of `test`, or of `report score`.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid.

    Attributes:
        name: Its folder in that of the study.
        row: What tables call it.
        seed: Its seed.
        config: Files behind `--config`.
        data: The file of its data.
        arguments: All options of `fit` but folders; for a folder its path alone.
        tests: What it is tested on.
        kind: Trained here, or a folder of pictures.
        after: The name of the run whose checkpoint it begins from; empty for none.
        tables: Whether it is tested; a run that others only begin from need not be.
        fold: Which fold is its test part, from 0; None without folds.
        division: The folds that this is one of.
    """

    name: str
    row: str
    seed: int
    config: tuple[str, ...]
    data: str
    arguments: tuple[str, ...]
    tests: tuple[StudyTest, ...]
    kind: Literal["run", "folder"] = "run"
    after: str = ""
    tables: bool = True
    fold: int | None = None
    division: Division | None = None

    def digest(self) -> str:
        """A checksum of its options and of what its files say: a run goes on only with the same."""
        content = [*self.arguments, self.after]
        for option, file in [*(("--config", file) for file in self.config), ("--data", self.data)]:
            if file:
                content.append(Path(find_config(option, file)).read_text(encoding="utf-8"))
        return hashlib.sha256("\0".join(content).encode()).hexdigest()
