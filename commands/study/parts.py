"""What the files of studies and of searches share: how they are found, and entries that become options of `fit`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.errors import UsageError
from ivif.commands.parsing.named_files import find_config
from ivif.configs import CONFIGS
from ivif.files.plain_yaml import PlainYamlError, load_plain

NAME: Final = re.compile(r"\w[\w.+-]*")
"""Names that folders are called by."""

_OPTION: Final = re.compile(r"\w[\w.]*=.*", re.DOTALL)


@dataclass
class PlanParts:
    """The parts of such a file, checked as they are asked for.

    Attributes:
        path: The file, for messages.
        root: The folder in which data lie.
        content: What it says.
    """

    path: Path
    root: Path
    content: Mapping[str, Any]

    def entries(self, key: str, known: set[str]) -> dict[str, dict[str, Any]]:
        """The entries of a part by name."""
        found = self.content.get(key) or {}
        if not isinstance(found, dict):
            raise UsageError(f"{self.path}: {key} must map names to settings.")
        for name, entry in found.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UsageError(f"{self.path}: {key}: '{name}' is no name: letters, digits and . + - _ alone.")
            self.check_keys(f"{key}.{name}", entry or {}, known)
        return {name: entry or {} for name, entry in found.items()}

    def check_keys(self, place: str, entry: Any, known: set[str]) -> None:
        """Refuses what is no mapping, and unknown keys."""
        if not isinstance(entry, dict):
            raise UsageError(f"{self.path}: {place} must be a mapping with the keys {', '.join(sorted(known))}.")
        if unknown := sorted(map(str, entry.keys() - known)):
            raise UsageError(f"{self.path}: {place}: unknown {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")

    def options(self, place: str, entry: Mapping[str, Any]) -> list[str]:
        """`options:` as words of a command line."""
        options = entry.get("options") or {}
        if not isinstance(options, dict):
            raise UsageError(f"{self.path}: {place}.options must map options to values.")
        return [f"--{key}={option_value(value)}" for key, value in options.items()]

    def files(self, place: str, entry: Mapping[str, Any]) -> list[str]:
        """`config:` as a list of files."""
        files = entry.get("config") or []
        files = [files] if isinstance(files, str) else files
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            raise UsageError(f"{self.path}: {place}.config must be the name of a file, or a list of them.")
        for file in files:
            find_config("--config", file)
        return files

    def data_options(self, place: str, entry: Mapping[str, Any]) -> list[str]:
        """The data of a run or test."""
        words = []
        if file := entry.get("file"):
            find_config("--data", str(file))
            words.append(f"--data={file}")
        if "root" in entry:
            words.append(f"--data.root={self.root / str(entry['root'])}")
        return [*words, *self.options(place, entry)]


def read_plan(name: str, folder: str, options: Sequence[str]) -> tuple[Path, Any]:
    """Finds such a file, and reads it.

    Args:
        name: Its path, or its name in that folder of `configs/`.
        folder: `studies` or `searches`.
        options: `KEY=VALUE`, as typed behind `--options`; only looked at.

    Raises:
        UsageError: If it is missing or no YAML, or an option is none.
    """
    for option in options:
        if not _OPTION.fullmatch(option):
            raise UsageError(f"--options {option}: write KEY=VALUE, as in --options trainer.max_steps=100.")
    path = next((each for each in (Path(name), CONFIGS / folder / name) if each.is_file()), None)
    if path is None:
        known = ", ".join(sorted(each.name for each in (CONFIGS / folder).glob("*.yaml")))
        raise UsageError(f"{name}: no such file here, and none in configs/{folder}/: {known}.")
    try:
        return path, load_plain(path)
    except (yaml.YAMLError, PlainYamlError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it is no YAML that can be read: {error}") from error


def option_value(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=100_000).removesuffix("...\n").strip()
