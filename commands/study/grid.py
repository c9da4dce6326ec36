"""The YAML of a study: which methods, data, ablations, seeds and tests it crosses, and the runs that come of it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from ivif.commands.errors import UsageError
from ivif.commands.parsing.named_files import find_config
from ivif.configs import CONFIGS
from ivif.files.plain_yaml import PlainYamlError, load_plain

_TOP: Final = {"options", "methods", "data", "ablations", "seeds", "tests", "folders"}
_METHOD: Final = {"config", "options", "seeds", "after", "tables"}
_ABLATION: Final = {"config", "options"}
_DATA: Final = {"file", "root", "options"}
_TEST: Final = {"file", "root", "options", "convention"}
_NAME: Final = re.compile(r"\w[\w.+-]*")
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

    def digest(self) -> str:
        """A checksum of its options and of what its files say: a run goes on only with the same."""
        content = [*self.arguments, self.after]
        for option, file in [*(("--config", file) for file in self.config), ("--data", self.data)]:
            if file:
                content.append(Path(find_config(option, file)).read_text(encoding="utf-8"))
        return hashlib.sha256("\0".join(content).encode()).hexdigest()


@dataclass
class _Grid:
    """A study's parts, checked."""

    path: Path
    root: Path
    content: Mapping[str, Any]
    runs: list[PlannedRun] = field(default_factory=list)

    def entries(self, key: str, known: set[str]) -> dict[str, dict[str, Any]]:
        """The entries of a part by name."""
        found = self.content.get(key) or {}
        if not isinstance(found, dict):
            raise UsageError(f"{self.path}: {key} must map names to settings.")
        for name, entry in found.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UsageError(f"{self.path}: {key}: '{name}' is no name: letters, digits and . + - _ alone.")
            self.check_keys(f"{key}.{name}", entry or {}, known)
        return {name: entry or {} for name, entry in found.items()}

    def check_keys(self, place: str, entry: Any, known: set[str]) -> None:
        """Refuses what is no mapping, and unknown keys."""
        if not isinstance(entry, dict):
            raise UsageError(f"{self.path}: {place} must be a mapping with the keys {', '.join(sorted(known))}.")
        if unknown := sorted(map(str, entry.keys() - known)):
            raise UsageError(f"{self.path}: {place}: unknown {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")

    def seeds(self, entry: Mapping[str, Any], name: str) -> list[int]:
        """A method's own seeds, else those of the study."""
        seeds = entry.get("seeds", self.content.get("seeds"))
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
            raise UsageError(
                f"{self.path}: {name} has no seeds. Write a list of whole numbers, as in seeds: [0, 1, 2]."
            )
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"{self.path}: {name}: a seed is given twice in {seeds}: two runs would have one name.")
        return seeds

    def options(self, place: str, entry: Mapping[str, Any]) -> list[str]:
        """`options:` as words of a command line."""
        options = entry.get("options") or {}
        if not isinstance(options, dict):
            raise UsageError(f"{self.path}: {place}.options must map options to values.")
        return [f"--{key}={_value(value)}" for key, value in options.items()]

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

    def tests(self, *, of_folder: bool) -> tuple[StudyTest, ...]:
        """The test sets, each under each of its conventions."""
        found = []
        for name, entry in (self.entries("tests", _TEST) or {"test": {}}).items():
            conventions = entry.get("convention", [])
            words = self.data_options(f"tests.{name}", entry)
            if of_folder and not entry.get("file"):
                raise UsageError(f"{self.path}: tests.{name} needs a file of data, because there are folders.")
            for convention in [conventions] if isinstance(conventions, str) else conventions or [""]:
                chosen = [f"--convention={convention}"] if convention else []
                label = f"test-{name}-{convention}" if convention else f"test-{name}"
                found.append(StudyTest(label, (*words, *chosen)))
        return tuple(found)

    def cross(self) -> list[PlannedRun]:
        """All runs; those that others come after stand first."""
        methods, data = self.entries("methods", _METHOD), self.entries("data", _DATA)
        ablations = self.entries("ablations", _ABLATION) or {"": {}}
        if methods and not data:
            raise UsageError(f"{self.path}: it has no data. Write data: {{NAME: {{file: NAME.yaml}}}}.")
        for method, entry in methods.items():
            for place in data:
                for ablation in ablations:
                    self._add(method, entry, (place, data[place]), (ablation, ablations[ablation]), len(data) > 1)
        tests = self.tests(of_folder=True) if self.content.get("folders") else ()
        for name, folder in (self.content.get("folders") or {}).items():
            if not _NAME.fullmatch(str(name)) or not (self.root / str(folder)).is_dir():
                raise UsageError(f"{self.path}: folders.{name}: '{self.root / str(folder)}' is no folder of pictures.")
            words = (str(self.root / str(folder)),)
            self.runs.append(PlannedRun(str(name), str(name), 0, (), "", words, tests, "folder"))
        return self._checked()

    def _add(
        self,
        method: str,
        entry: Mapping[str, Any],
        data: tuple[str, Mapping[str, Any]],
        ablation: tuple[str, Mapping[str, Any]],
        names_data: bool,
    ) -> None:
        middle = f"-{ablation[0]}" if ablation[0] else ""
        ending = f"{middle}-{data[0]}" if names_data else middle
        config = [*self.files(f"methods.{method}", entry), *self.files(f"ablations.{ablation[0]}", ablation[1])]
        words = [f"--config={file}" for file in config]
        words += self.data_options(f"data.{data[0]}", data[1])
        words += self.options("study", self.content)
        words += self.options(f"methods.{method}", entry) + self.options(f"ablations.{ablation[0]}", ablation[1])
        before = entry.get("after", "")
        if before and before not in self.entries("methods", _METHOD):
            raise UsageError(f"{self.path}: methods.{method}.after: there is no method '{before}'.")
        for seed in self.seeds(entry, f"methods.{method}"):
            after = ""
            if before:
                theirs = self.seeds(self.content["methods"][before] or {}, f"methods.{before}")
                after = f"{before}{ending}-seed{seed if seed in theirs else theirs[0]}"
            seeded = (*words, f"--seed_everything={seed}")
            name, row, file = f"{method}{ending}-seed{seed}", f"{method}{ending}", str(data[1].get("file", ""))
            tested = entry.get("tables", True) is not False
            tests = self.tests(of_folder=False) if tested else ()
            self.runs.append(PlannedRun(name, row, seed, tuple(config), file, seeded, tests, "run", after, tested))

    def _checked(self) -> list[PlannedRun]:
        names = [run.name for run in self.runs]
        if not names:
            raise UsageError(f"{self.path}: it has neither methods nor folders.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"{self.path}: two runs have the name {twice[0]}. Call a method or ablation otherwise.")
        ordered: list[PlannedRun] = []
        while left := [run for run in self.runs if run not in ordered]:
            ready = [run for run in left if not run.after or run.after in {done.name for done in ordered}]
            if not ready:
                raise UsageError(f"{self.path}: {left[0].name} comes after itself, by way of others.")
            ordered += ready
        return ordered


def read_study(study: str, root: Path) -> tuple[str, list[PlannedRun]]:
    """The name of a study and its runs, in an order in which they can be run.

    Args:
        study: Its YAML file, or the name of one in `configs/studies/`.
        root: The folder in which data and foreign pictures lie.

    Raises:
        UsageError: If the file is missing or wrong; says where.
    """
    path = next((each for each in (Path(study), CONFIGS / "studies" / study) if each.is_file()), None)
    if path is None:
        known = ", ".join(sorted(each.name for each in (CONFIGS / "studies").glob("*.yaml")))
        raise UsageError(f"{study}: no such file here, and none in configs/studies/: {known}.")
    try:
        content = load_plain(path)
    except (yaml.YAMLError, PlainYamlError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it is no YAML that can be read: {error}") from error
    grid = _Grid(path, root, content if isinstance(content, dict) else {})
    grid.check_keys("the study", content, _TOP)
    return path.stem, grid.cross()


def _value(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=100_000).removesuffix("...\n").strip()
