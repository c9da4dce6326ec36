"""What a study plans: its runs, and what each is tested on."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ivif.commands.parsing.named_files import find_config
from ivif.commands.study.folds import Division
from ivif.files.plain_yaml import load_plain

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

    def settings(self) -> dict[str, str]:
        """Its options, and a checksum of what each of its files says: a run goes on only with the same.

        Two ways to write one path are the same, and so are two of one YAML content.
        """
        words = [word if "=" in word else f"folder={word}" for word in self.arguments]
        options = dict(word.split("=", 1) for word in words)
        found = {name: _whole_path(value) for name, value in options.items()} | {"--config": " ".join(self.config)}
        for option, file in [*(("--config", file) for file in self.config), ("--data", self.data)]:
            if file:
                content = json.dumps(load_plain(Path(find_config(option, file))), sort_keys=True, default=str)
                found[f"{option}={file}"] = hashlib.sha256(content.encode()).hexdigest()
        return found | ({"after": self.after} if self.after else {})


def _whole_path(value: str) -> str:
    is_path = os.sep in value and "://" not in value and not value.startswith(("{", "["))
    return str(Path(value).resolve()) if is_path else value


def changes(begun: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is different, in words; empty for nothing."""
    names = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
    return "; ".join(_change(name, begun.get(name), now.get(name)) for name in names)


def _change(name: str, before: str | None, after: str | None) -> str:
    of_file = "=" in name  # known by a checksum, which says nothing to people
    if before is not None and after is not None:
        return f"what {name} says" if of_file else f"{name} was {before}, and is {after}"
    written = name if of_file else f"{name}={before or after}"
    return f"{written} is {'new' if before is None else 'left out'}"
