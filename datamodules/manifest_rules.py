"""The YAML of a split manifest as dataclasses, and its committed name lists, verified against their checksums."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.files.errors import SplitError
from ivif.files.plain_yaml import PlainYamlError, load_plain

SPLITS_FOLDER: Final = Path(__file__).parent / "splits"
"""Committed manifests `<manifest>.yaml`, their lists `<manifest>/<dataset>_<stage>.txt`, known names in `names/`."""

_DATASET_KEYS: Final = {"released", "stages", "unlisted", "follow", "strata", "scenes", "guard"}
_STAGE_KEYS: Final = {"pool", "count", "fraction", "same_as"}
_TOP_KEYS: Final = {"seed", "description", "datasets", "known", "lists"}
_LARGEST_TEXT: Final = 100_000_000
"""Characters of a manifest: it may hold the name of every pair."""
_MOST_VALUES: Final = 10_000_000


@dataclass(frozen=True)
class StageRule:
    """What a stage takes from one of the reader's splits.

    Args:
        pool: The reader's split (`train`, `test`, `all`) that the names come from; overrides a user's `split`.
        count: How many pairs; None takes all that belong to the stage.
        fraction: Share of the pool, where several stages divide it.

    Raises:
        ValueError: If a number is out of range or no number.
    """

    pool: str
    count: int | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None and (type(self.count) is not int or self.count < 0):
            raise ValueError(f"count is {self.count!r}; it must be a whole number of 0 or more, or left out")
        if self.fraction is not None and not (type(self.fraction) in (int, float) and 0 <= self.fraction <= 1):
            raise ValueError(f"fraction is {self.fraction!r}; it must lie in [0, 1], or be left out")


@dataclass(frozen=True)
class FollowRule:
    """A name may only enter stages that match the stage it has in another manifest.

    Args:
        manifest: Name of the other manifest.
        stages: For each stage of this manifest the stages of the other one.
    """

    manifest: str
    stages: Mapping[str, Sequence[str]]

    def translate(self, followed: str | None) -> str | None:
        """The stage here for a stage there."""
        return next((stage for stage, theirs in self.stages.items() if followed in theirs), None)


@dataclass(frozen=True)
class DatasetRule:
    """How one dataset is divided; `datamodules/splits/README.md` explains the keys."""

    released: Mapping[str, int]
    stages: Mapping[str, StageRule]
    same_as: Mapping[str, str] = field(default_factory=dict)
    unlisted: str | None = None
    follow: FollowRule | None = None
    strata: str | None = None
    scenes: str | None = None
    guard: int = 0
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def stage_of_listed(self) -> dict[str, str]:
        """Stage by listed name."""
        return {name: stage for stage, names in self.lists.items() for name in names}

    def sharing(self, pool: str) -> dict[str, StageRule]:
        """The stages that draw from a pool, in the order of the YAML."""
        return {stage: rule for stage, rule in self.stages.items() if rule.pool == pool}


def known_manifests() -> list[str]:
    """Names of the committed manifests."""
    return sorted(path.stem for path in SPLITS_FOLDER.glob("*.yaml"))


def find_manifest(name_or_path: str | Path) -> Path:
    """The YAML file of a manifest.

    Raises:
        SplitError: If it is neither a committed manifest's name nor an existing YAML file; lists the known names.
    """
    for candidate in (SPLITS_FOLDER / f"{name_or_path}.yaml", Path(name_or_path)):
        if candidate.is_file() and candidate.suffix in (".yaml", ".yml"):
            return candidate
    raise SplitError(
        f"Unknown manifest '{name_or_path}'. Known: {', '.join(known_manifests())}; or give the path of a manifest's "
        f"YAML file, e.g. the one that an earlier run wrote beside its config."
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a manifest's YAML file.

    Raises:
        SplitError: If it is no mapping of the known keys.
    """
    try:
        content = load_plain(path, _LARGEST_TEXT, _MOST_VALUES)
    except (OSError, yaml.YAMLError, PlainYamlError, ValueError) as error:  # an integer of 5000 digits is a ValueError
        raise SplitError(
            f"Cannot read the manifest '{path}': {error}. Compare it with those in '{SPLITS_FOLDER}'."
        ) from error
    if not isinstance(content, dict) or not content.keys() <= _TOP_KEYS or "datasets" not in content:
        raise SplitError(f"'{path}' is no manifest: it needs the keys {', '.join(sorted(_TOP_KEYS))} and no others.")
    if type(content.get("seed", 0)) is not int:
        raise SplitError(f"The manifest '{path}': seed is {content['seed']!r}; it must be a whole number.")
    return content


def refuse_circles(path: Path, content: Mapping[str, Any]) -> None:
    """Refuses manifests that follow each other: a name's stage could then never be told.

    Args:
        path: A manifest.
        content: What `read_yaml` gave.

    Raises:
        SplitError: If following leads back to a manifest; names both.
    """
    waiting, seen = [(path, content)], {path.resolve()}
    while waiting:
        current, read = waiting.pop()
        for entry in read["datasets"].values():
            if "follow" not in entry:
                continue
            followed = find_manifest(entry["follow"]["manifest"])
            if followed.resolve() == path.resolve():
                raise SplitError(
                    f"The manifest '{path}' is followed by '{current}', which it follows. Remove one 'follow'."
                )
            if followed.resolve() not in seen:
                seen.add(followed.resolve())
                waiting.append((followed, read_yaml(followed)))


def parse_rules(path: Path, content: Mapping[str, Any], lists: Mapping[str, Sequence[str]]) -> dict[str, DatasetRule]:
    """The rules of a manifest by dataset.

    Args:
        path: The YAML file, for messages.
        content: What `read_yaml` gave.
        lists: Names by `<dataset>_<stage>`.

    Raises:
        SplitError: If an entry is malformed.
    """
    try:
        return {name: _parse_dataset(name, entry, lists) for name, entry in content["datasets"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SplitError(
            f"The manifest '{path}' is malformed ({error!r}). Compare it with those in '{SPLITS_FOLDER}'."
        ) from error


def _parse_dataset(dataset: str, entry: Mapping[str, Any], lists: Mapping[str, Sequence[str]]) -> DatasetRule:
    options = dict(entry)
    if unknown := options.keys() - _DATASET_KEYS:
        raise ValueError(f"{dataset}: unknown keys {sorted(unknown)}; known: {sorted(_DATASET_KEYS)}")
    stages, same_as = {}, {}
    for stage, value in options.pop("stages").items():
        if unknown := value.keys() - _STAGE_KEYS:
            raise ValueError(f"{dataset}.{stage}: unknown keys {sorted(unknown)}; known: {sorted(_STAGE_KEYS)}")
        if "same_as" in value:
            same_as[stage] = value["same_as"]
        else:
            stages[stage] = StageRule(**value)
    if "follow" in options:
        options["follow"] = FollowRule(**options["follow"])
    keys = {key: key.rpartition("_") for key in lists}  # "m3fd_fusion_test" is not a stage of m3fd
    listed = {stage: tuple(lists[key]) for key, (owner, _, stage) in keys.items() if owner == dataset}
    return DatasetRule(stages=stages, same_as=same_as, lists=listed, **options)


def list_text(names: Sequence[str]) -> str:
    """A list as it is written: one name a line; a name that is no plain line of its own as a JSON string."""
    lines = (name if name.isprintable() and not name.startswith('"') else json.dumps(name) for name in names)
    return "".join(f"{line}\n" for line in lines)


def list_names(text: str) -> list[str]:
    """The names of a list that `list_text` wrote, or a person."""
    return [_listed(line) for line in text.splitlines()]


def _listed(line: str) -> str:
    if not line.startswith('"'):
        return line
    try:
        name = json.loads(line)
    except ValueError:
        return line
    return name if isinstance(name, str) else line


def checksum(names: Sequence[str]) -> str:
    """The sha256 of a list: of one name a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def read_lists(path: Path, content: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lists beside a manifest, by `<dataset>_<stage>`.

    Raises:
        SplitError: If a list is missing, or is not the one that the YAML's count and sha256 were written for.
    """
    lists = {}
    listed = content.get("lists") or {}
    if not isinstance(listed, dict) or not all(
        isinstance(entry, dict) and entry.keys() >= {"count", "sha256"} for entry in listed.values()
    ):
        raise SplitError(f"The manifest '{path}': lists must map each to its count and sha256. {_RESTORE}")
    for key, expected in listed.items():
        if key != Path(str(key)).name:
            raise SplitError(f"The manifest '{path}' names the list {key!r}, which is a path. Name lists plainly.")
        file = path.with_suffix("") / f"{key}.txt"
        try:
            names = list_names(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SplitError(f"The list '{file}' of the manifest '{path.name}' cannot be read. {_RESTORE}") from error
        if len(names) != expected["count"] or checksum(names) != expected["sha256"]:
            raise SplitError(
                f"The list '{file}' is not the one that '{path.name}' was written with: {len(names)} names, expected "
                f"{expected['count']}, or other names. Splits must not change under published results. {_RESTORE}"
            )
        lists[key] = names
    return lists


_RESTORE: Final = (
    "Restore the file from version control; for a split of your own copy the manifest to another name, change its "
    "rule, and run `ivif data manifests --write`."
)
