"""The YAML of a search: what is searched, what each trial runs with, and how trials are drawn, compared and ended."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ivif.callbacks.trials import Rules
from ivif.commands.errors import UsageError
from ivif.commands.study.parts import PlanParts, option_value, read_plan
from ivif.commands.study.planned import PlannedRun

_TOP: Final = {"config", "data", "options", "seed", "trials", "score", "sampler", "pruner", "search", "begin"}
_DATA: Final = {"file", "root", "options"}
_SCORE: Final = {"name", "mode"}
_SAMPLERS: Final[Mapping[str, Mapping[str, str]]] = {"random": {}, "tpe": {"startup": "drawn_first"}}
_PRUNERS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "median": {"startup": "ended_first", "warmup": "warmup"},
    "halving": {"first": "first", "factor": "factor"},
}
"""Each name -> its settings in the file -> what `Rules` calls them."""

_LEAST: Final = {"warmup": 0, "factor": 2}
"""The least of a setting, where it is not 1."""


@dataclass(frozen=True)
class Range:
    """Where a setting is drawn from.

    Args:
        kind: `float`, `int` or `choices`.
        low: The least.
        high: The most.
        log: Whether its logarithm is drawn evenly.
        step: Distance of its values; None for any.
        choices: Its values as the command line takes them, instead of the others.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()

    def holds(self, value: float | str) -> bool:
        """Whether a value lies in it."""
        if self.kind == "choices" or isinstance(value, str):
            return value in self.choices
        whole = self.kind == "float" or value == int(value)
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and whole and math.isclose(steps, round(steps), abs_tol=1e-6)


@dataclass(frozen=True)
class Search:
    """A search, read from its file.

    Attributes:
        name: Of its folder.
        trials: How many trials there are to be.
        rules: How they are drawn, compared and ended.
        ranges: Option -> where it is drawn from.
        begin: Settings of the first trials, which are not drawn.
        config: Files behind `--config`.
        data: The file of the data.
        arguments: The options that all trials share.
    """

    name: str
    trials: int
    rules: Rules
    ranges: Mapping[str, Range]
    begin: tuple[Mapping[str, float | str], ...]
    config: tuple[str, ...]
    data: str
    arguments: tuple[str, ...]

    def planned(self, number: int, values: Mapping[str, Any]) -> PlannedRun:
        """The run of a trial."""
        drawn = tuple(f"--{option}={option_value(values[option])}" for option in self.ranges)
        name, seed = trial_name(number), self.rules.seed
        words = (*self.arguments, *drawn, f"--seed_everything={seed}")
        return PlannedRun(name, name, seed, self.config, self.data, words, ())


def trial_name(number: int) -> str:
    """The folder of a trial in that of the search."""
    return f"trial{number:04d}"


def read_search(search: str, root: Path, options: Sequence[str] = (), trials: int | None = None) -> Search:
    """Reads the file of a search.

    Args:
        search: The file, or the name of one in `configs/searches/`.
        root: The folder in which data lie.
        options: Of every fit, `KEY=VALUE`, after those of the file.
        trials: How many trials, instead of the file's number.

    Raises:
        UsageError: If the file is missing or wrong; says where.
    """
    path, content = read_plan(search, "searches", options)
    parts = _SearchFile(path, root, content if isinstance(content, dict) else {})
    parts.check_keys("the search", content, _TOP)
    return parts.search(options, trials)


class _SearchFile(PlanParts):
    """The file's parts, checked."""

    def search(self, added: Sequence[str], trials: int | None) -> Search:
        config, data = self.files("the search", self.content), self.content.get("data") or {}
        self.check_keys("data", data, _DATA)
        if not config:
            raise UsageError(f"{self.path}: it has no config. Write config: NAME.yaml, the file of a method.")
        words = [*(f"--config={file}" for file in config), *self.data_options("data", data)]
        words += self.options("the search", self.content) + [f"--{option}" for option in added]
        ranges = self.ranges()
        for word in words:
            if (option := word.removeprefix("--").partition("=")[0]) in ranges:
                raise UsageError(
                    f"{self.path}: {option} is searched, and given as '{word}' too. Leave one of them out."
                )
        wanted = self.whole("trials", self.content.get("trials"), 1) if trials is None else trials
        found = Search(
            self.path.stem, wanted, self.rules(), ranges, self.begin(ranges), tuple(config),
            str(data.get("file", "")), tuple(words),
        )  # fmt: skip
        return replace(found, rules=replace(found.rules, digest=_digest(found)))

    def rules(self) -> Rules:
        """How trials are drawn, compared and ended."""
        given = self.content.get("score")
        score: Any = {"name": given} if isinstance(given, str) else given
        self.check_keys("score", score, _SCORE)
        name, mode = score.get("name"), score.get("mode", "max")
        if not isinstance(name, str) or not name.startswith("val/"):
            raise UsageError(f"{self.path}: score is '{name}'; it must be a logged validation score, such as val/Qabf.")
        if mode not in ("max", "min"):
            raise UsageError(f"{self.path}: score.mode is '{mode}'; it can be max or min.")
        sampler, drawn = self.chosen("sampler", _SAMPLERS, "tpe")
        pruner, ended = self.chosen("pruner", _PRUNERS, "none")
        seed = self.whole("seed", self.content.get("seed", 0), 0)
        return Rules(name, mode, sampler, pruner, seed, **drawn, **ended)

    def chosen(self, key: str, known: Mapping[str, Mapping[str, str]], default: str) -> tuple[str, dict[str, Any]]:
        """A name with its settings, as `Rules` calls them."""
        given = self.content.get(key) or default
        given = {"name": given} if isinstance(given, str) else given
        if not isinstance(given, dict) or given.get("name") not in known:
            raise UsageError(f"{self.path}: {key} must be {', '.join(known)}, or {{name: NAME}} with its settings.")
        settings = known[given["name"]]
        self.check_keys(key, given, {"name", *settings})
        own = {name: value for name, value in given.items() if name != "name"}
        return given["name"], {
            settings[name]: self.whole(f"{key}.{name}", value, _LEAST.get(name, 1)) for name, value in own.items()
        }

    def whole(self, place: str, value: Any, least: int) -> int:
        """A whole number."""
        if type(value) is not int or value < least:
            raise UsageError(f"{self.path}: {place} is '{value}'; it must be a whole number from {least}.")
        return value

    def ranges(self) -> dict[str, Range]:
        """What is searched."""
        given = self.content.get("search")
        if not isinstance(given, dict) or not given:
            raise UsageError(
                f"{self.path}: it searches nothing. Write search: {{model.schedule.peak: {{float: [0.0001, 0.01], "
                f"log: true}}}}."
            )
        return {str(option): self.range(f"search.{option}", entry) for option, entry in given.items()}

    def range(self, place: str, entry: Any) -> Range:
        """Where an option is drawn from."""
        kinds = [kind for kind in ("float", "int", "choices") if isinstance(entry, dict) and kind in entry]
        if len(kinds) != 1:
            raise UsageError(
                f"{self.path}: {place}: give one of float: [LOW, HIGH], int: [LOW, HIGH] and choices: [ONE, OTHER]."
            )
        (kind,) = kinds
        self.check_keys(place, entry, {kind} if kind == "choices" else {kind, "log", "step"})
        values = entry[kind]
        if not isinstance(values, list) or len(values) < 2 or (kind != "choices" and len(values) != 2):
            raise UsageError(
                f"{self.path}: {place}.{kind} must be a list of {'its' if kind == 'choices' else 'two'} values."
            )
        if kind == "choices":
            texts = tuple(option_value(value) for value in values)
            if len(set(texts)) < len(texts):
                raise UsageError(f"{self.path}: {place}.choices: a value is given twice.")
            return Range(kind, choices=texts)
        low, high = (self.number(f"{place}.{kind}", value, kind) for value in values)
        step = None if entry.get("step") is None else self.number(f"{place}.step", entry["step"], kind)
        log = entry.get("log", False)
        if type(log) is not bool or low >= high or (log and (low <= 0 or step is not None)) or (step or 1) <= 0:
            raise UsageError(
                f"{self.path}: {place}: LOW must be less than HIGH, log true or false, and step more than 0; with "
                f"log: true LOW must be more than 0, and step is left out."
            )
        return Range(kind, low, high, log, step)

    def number(self, place: str, value: Any, kind: str) -> float:
        """A number; YAML reads 1e-3 as a text."""
        try:
            found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found) or (kind == "int" and found != int(found)):
            raise UsageError(f"{self.path}: {place}: '{value}' is no {'whole ' if kind == 'int' else ''}number.")
        return int(found) if kind == "int" else found

    def begin(self, ranges: Mapping[str, Range]) -> tuple[dict[str, float | str], ...]:
        """Settings of the first trials."""
        given = self.content.get("begin") or []
        if not isinstance(given, list):
            raise UsageError(f"{self.path}: begin must be a list of settings, each with a value for every option.")
        return tuple(self.settings(f"begin[{index}]", entry, ranges) for index, entry in enumerate(given))

    def settings(self, place: str, entry: Any, ranges: Mapping[str, Range]) -> dict[str, float | str]:
        """A value for every option that is searched."""
        self.check_keys(place, entry, set(ranges))
        if missing := sorted(ranges.keys() - entry.keys()):
            raise UsageError(f"{self.path}: {place} has no value for {', '.join(missing)}.")
        found: dict[str, float | str] = {}
        for option, own in ranges.items():
            value = entry[option]
            chosen = own.kind == "choices"
            found[option] = option_value(value) if chosen else self.number(f"{place}.{option}", value, own.kind)
            if not own.holds(found[option]):
                raise UsageError(f"{self.path}: {place}.{option} is '{value}', which is not in its range.")
        return found


def _digest(search: Search) -> str:
    """A checksum of all that a search's trials depend on but their number."""
    ranges = {option: vars(own) for option, own in search.ranges.items()}
    base = PlannedRun("", "", 0, search.config, search.data, search.arguments, ()).settings()
    content = [base, vars(search.rules), ranges, [dict(one) for one in search.begin]]
    return hashlib.sha256(json.dumps(content, default=list).encode()).hexdigest()
