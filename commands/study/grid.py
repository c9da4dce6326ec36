"""The YAML of a study: which methods, data, ablations, seeds and tests it crosses, and the runs that come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ivif.commands.errors import UsageError
from ivif.commands.study.folds import Division
from ivif.commands.study.parts import NAME, PlanParts, read_plan
from ivif.commands.study.planned import PlannedRun, StudyTest

_TOP: Final = {"options", "methods", "data", "ablations", "seeds", "folds", "tests", "folders"}
_METHOD: Final = {"config", "options", "seeds", "after", "tables"}
_ABLATION: Final = {"config", "options"}
_DATA: Final = {"file", "root", "options"}
_TEST: Final = {"file", "root", "options", "convention"}
_FOLDER: Final = {"path", "config", "options", "seeds"}
_FOLDS: Final = {"count", "seed"}


@dataclass
class _Grid(PlanParts):
    """A study's parts, checked, and the runs that come of them."""

    added: Sequence[str] = ()
    runs: list[PlannedRun] = field(default_factory=list)

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

    @property
    def in_folds(self) -> bool:
        """Whether the pairs of its data are divided into folds."""
        return self.content.get("folds") is not None

    def division(self, place: str, entry: Mapping[str, Any]) -> Division | None:
        """How the pairs of an entry of the data are divided into folds; None if they are not."""
        if not self.in_folds:
            return None
        given = self.content["folds"]
        folds = {"count": given} if type(given) is int else given
        self.check_keys("folds", folds, _FOLDS)
        count, seed = folds.get("count"), folds.get("seed", 0)
        if type(count) is not int or count < 2 or type(seed) is not int or seed < 0:
            raise UsageError(f"{self.path}: folds must be 2 or more, as in folds: 5 or folds: {{count: 5, seed: 1}}.")
        if not entry.get("file"):
            raise UsageError(f"{self.path}: data.{place} needs a file, because its pairs are divided into folds.")
        words = self.data_options(f"data.{place}", entry)
        return Division(place, tuple(word for word in words if word.startswith("--data")), count, seed)

    def tests(self, divided: Sequence[str] = (), *, of_folder: bool) -> tuple[StudyTest, ...]:
        """The test sets, each under each of its conventions; with folds these are the `divided` data."""
        found = []
        for name, entry in (self.entries("tests", _TEST) or {"test": {}}).items():
            conventions = entry.get("convention", [])
            words = self.data_options(f"tests.{name}", entry)
            if self.in_folds and {"file", "root"} & entry.keys():
                raise UsageError(f"{self.path}: tests.{name}: folds test the pairs of data: leave out file and root.")
            if of_folder and not divided and not entry.get("file"):
                raise UsageError(f"{self.path}: tests.{name} needs a file of data, because there are folders.")
            words = [*divided, *words]
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
            raise self._without_data()
        for method, entry in methods.items():
            for place in data:
                for ablation in ablations:
                    self._add(method, entry, (place, data[place]), (ablation, ablations[ablation]), len(data) > 1)
        folders = self.content.get("folders") or {}
        if not isinstance(folders, dict):
            raise UsageError(f"{self.path}: folders must map names to folders.")
        for name, given in folders.items():
            self._add_folder(str(name), given if isinstance(given, dict) else {"path": given}, data)
        return self._checked()

    def _add_folder(self, name: str, entry: dict[str, Any], data: Mapping[str, Mapping[str, Any]]) -> None:
        """The pictures of a foreign method: scored, or with a `config` what a detector learns from them."""
        self.check_keys(f"folders.{name}", entry, _FOLDER)
        place = self.root / str(entry.get("path"))
        if not NAME.fullmatch(name) or not place.is_dir():
            raise UsageError(f"{self.path}: folders.{name}: '{place}' is no folder of pictures.")
        if not data and ("config" in entry or self.in_folds):
            raise self._without_data()
        if "config" in entry:
            pictures = {"model.source.kind": "folder", "data.fused_dir": str(place)}
            detector = entry | {"options": pictures | (entry.get("options") or {})}
            for own in data.items():
                self._add(name, detector, own, ("", {}), len(data) > 1)
        elif not self.in_folds:
            tests = self.tests(of_folder=True)
            self.runs.append(PlannedRun(name, name, 0, (), "", (str(place),), tests, "folder"))
        else:
            for own in data.items():
                middle = f"-{own[0]}" if len(data) > 1 else ""
                for fold, ending, words, division in self._folds(own):
                    tests = self.tests((*(division.options if division else ()), *words), of_folder=True)
                    run = PlannedRun(f"{name}{middle}{ending}", name, 0, (), "", (str(place),), tests, "folder")
                    self.runs.append(replace(run, fold=fold, division=division))

    def _folds(
        self, data: tuple[str, Mapping[str, Any]]
    ) -> list[tuple[int | None, str, tuple[str, ...], Division | None]]:
        """Each fold of the data: its number, the ending of names, the option that chooses it, which folds."""
        division = self.division(*data)
        if division is None:
            return [(None, "", (), None)]
        return [(fold, f"-fold{fold}", (division.option(fold),), division) for fold in range(division.count)]

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
        words += [f"--{option}" for option in self.added]
        row, file = f"{method}{ending}", str(data[1].get("file", ""))
        tested = entry.get("tables", True) is not False
        tests = self.tests(of_folder=False) if tested else ()
        for seed in self.seeds(entry, f"methods.{method}"):
            for fold, part, chosen, division in self._folds(data):
                after = ""
                if before:
                    theirs = self.seeds(self.content["methods"][before] or {}, f"methods.{before}")
                    after = f"{before}{ending}-seed{seed if seed in theirs else theirs[0]}{part}"
                seeded = (*words, *chosen, f"--seed_everything={seed}")
                run = PlannedRun(f"{row}-seed{seed}{part}", row, seed, tuple(config), file, seeded, tests)
                self.runs.append(replace(run, after=after, tables=tested, fold=fold, division=division))

    def _without_data(self) -> UsageError:
        return UsageError(f"{self.path}: it has no data. Write data: {{NAME: {{file: NAME.yaml}}}}.")

    def _checked(self) -> list[PlannedRun]:
        names = [run.name for run in self.runs]
        if not names:
            raise UsageError(f"{self.path}: it has neither methods nor folders.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"{self.path}: two runs have the name {twice[0]}. Call a method or ablation otherwise.")
        kinds = {run.row: run.kind for run in self.runs}
        if mixed := [run.row for run in self.runs if run.kind != kinds[run.row]]:
            raise UsageError(f"{self.path}: a method and a folder are both the row {mixed[0]}. Call one otherwise.")
        ordered: list[PlannedRun] = []
        while left := [run for run in self.runs if run not in ordered]:
            ready = [run for run in left if not run.after or run.after in {done.name for done in ordered}]
            if not ready:
                raise UsageError(f"{self.path}: {left[0].name} comes after itself, by way of others.")
            ordered += ready
        return ordered


def read_study(study: str, root: Path, options: Sequence[str] = ()) -> tuple[str, list[PlannedRun]]:
    """The name of a study and its runs, in an order in which they can be run.

    Args:
        study: Its YAML file, or the name of one in `configs/studies/`.
        root: The folder in which data and foreign pictures lie.
        options: Of every fit, `KEY=VALUE`, after those of the file.

    Raises:
        UsageError: If the file is missing or wrong, or an option is; says where.
    """
    path, content = read_plan(study, "studies", options)
    grid = _Grid(path, root, content if isinstance(content, dict) else {}, options)
    grid.check_keys("the study", content, _TOP)
    return path.stem, grid.cross()
