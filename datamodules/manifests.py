"""Split manifests: which pairs of which dataset a stage uses, the same on every machine and for any part of the data.

A manifest is a rule plus, where names are known, its committed expansion. Names are ordered by
`sha256(f"{seed}/{dataset}/{name}")`, and a stage takes the first N, or a share. Whether a stage may use a name never
depends on what else is on disk, so train and test share no pair, whatever part of the data somebody has:

1. A name in a committed list belongs to the stage of that list.
2. Any other name goes where the dataset's rule sends it: to the stage that it has in the manifest that is followed, to
   the one stage that takes `unlisted` names, to the stage alone in its official split, or to the stage whose share of
   [0, 1) covers its hash position.
3. Of its names on disk a stage takes the listed ones first, then the others, each in hash order, up to its count.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Self

from ivif.datamodules.manifest_rules import (
    DatasetRule,
    StageRule,
    find_manifest,
    known_manifests,
    parse_rules,
    read_lists,
    read_yaml,
    refuse_circles,
)
from ivif.files.errors import SplitError


@dataclass(frozen=True)
class Selection:
    """The pairs of one stage of one dataset.

    Args:
        manifest: Name of the manifest.
        dataset: Name of the dataset.
        stage: `train`, `val` or `test`.
        pool: The reader's split that the names come from.
        names: The names on disk to use, in hash order, those of the committed list first.
        requested: How many pairs the manifest asks for; None where that depends on what is on disk.
        missing_names: Names of the committed list that are not on disk.
        missing: How many pairs of the complete selection are missing, known by name or not.
        report: One line that says so.
    """

    manifest: str
    dataset: str
    stage: str
    pool: str
    names: list[str]
    requested: int | None
    missing_names: list[str]
    missing: int
    report: str


@dataclass(frozen=True)
class Manifest:
    """Which pairs each stage of each dataset uses.

    Args:
        name: Name of the manifest.
        seed: Seed of the order.
        rules: Rule and committed lists by dataset.

    Raises:
        SplitError: If a name is listed for two stages, or nothing keeps stages apart that share a pool.
    """

    name: str
    seed: int
    rules: Mapping[str, DatasetRule]

    def __post_init__(self) -> None:
        for dataset, rule in self.rules.items():
            self._check_leakage(dataset, rule)
            for pool in {stage.pool for stage in rule.stages.values()}:
                self._check_shares(dataset, pool, rule)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Reads a manifest and verifies its lists.

        Args:
            name_or_path: The name of a committed manifest (`mgfusion`), or the path of a YAML file.

        Raises:
            SplitError: If it is unknown or malformed, a list is missing or was edited, or stages overlap.
        """
        path = find_manifest(name_or_path)
        content = read_yaml(path)
        rules = parse_rules(path, content, read_lists(path, content))
        refuse_circles(path, content)
        return cls(path.stem, int(content.get("seed", 0)), rules)

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets that the manifest covers."""
        return list(self.rules)

    def stages(self, dataset: str) -> list[str]:
        """The stages for which the manifest has pairs of a dataset."""
        rule = self.rule(dataset)
        return [*rule.stages, *rule.same_as]

    def pool(self, dataset: str, stage: str) -> str | None:
        """The reader's split that a stage draws from; None where the manifest has no such stage.

        Raises:
            SplitError: If the manifest does not cover the dataset.
        """
        rule = self.rule(dataset)
        stage = rule.same_as.get(stage, stage)
        return rule.stages[stage].pool if stage in rule.stages else None

    def scenes(self, dataset: str) -> str | None:
        """The table of scenes that no stages share, here or in the manifest that is followed; None without any."""
        rule = self.rules.get(dataset)
        if rule is None:
            return None
        return rule.scenes if rule.follow is None else _followed(rule.follow.manifest).scenes(dataset)

    def position(self, dataset: str, name: str) -> float:
        """Where a name stands in the order: its hash, scaled to [0, 1)."""
        digest = hashlib.sha256(f"{self.seed}/{dataset}/{name}".encode()).hexdigest()
        return int(digest[:13], 16) / 16**13

    def order(self, dataset: str, names: Iterable[str]) -> list[str]:
        """Names in hash order, without duplicates."""
        return sorted(set(names), key=lambda name: (self.position(dataset, name), name))

    def stage_of(self, dataset: str, name: str, pool: str) -> str | None:
        """The one stage that may use a name of a pool, whatever else is on disk; None if no stage may."""
        rule = self.rule(dataset)
        if name in rule.stage_of_listed:
            return rule.stage_of_listed[name]
        if rule.follow is not None:
            return rule.follow.translate(_followed(rule.follow.manifest).stage_of(dataset, name, pool))
        sharing = rule.sharing(pool)
        if rule.unlisted is not None:
            return rule.unlisted if rule.unlisted in sharing else None
        if len(sharing) <= 1:
            return next(iter(sharing), None)
        return _stage_by_share(sharing, self.position(dataset, name))

    def listed(self, dataset: str, stage: str) -> list[str]:
        """The names committed for a stage, in order; where only the manifest that is followed lists any, those."""
        rule = self.rule(dataset)
        if stage in rule.lists or rule.follow is None:
            return list(rule.lists.get(stage, ()))
        followed = _followed(rule.follow.manifest)
        names = [name for theirs in rule.follow.stages.get(stage, ()) for name in followed.listed(dataset, theirs)]
        return self.order(dataset, names)

    def select(self, dataset: str, stage: str, available: Sequence[str], *, strict: bool = False) -> Selection:
        """Chooses a stage's pairs from what is on disk.

        Args:
            dataset: Name of the dataset.
            stage: `train`, `val` or `test`.
            available: The names that the reader found in the stage's pool.
            strict: Refuse to go on with a part of the pairs.

        Raises:
            SplitError: If the manifest has no such dataset or stage, or, when strict, if pairs are missing.
        """
        rule = self.rule(dataset)
        source = self._source(dataset, stage)
        wanted, on_disk = rule.stages[source], set(available)
        listed = {name: rank for rank, name in enumerate(self.listed(dataset, source))}
        candidates = [name for name in on_disk if self.stage_of(dataset, name, wanted.pool) == source]
        ranked = sorted(self.order(dataset, candidates), key=lambda name: listed.get(name, len(listed)))
        names = ranked[: wanted.count]
        missing_names = [name for name in listed if name not in on_disk]
        missing = max(len(missing_names), _shortfall(rule, wanted, len(names), len(on_disk)))
        report = f"{dataset} {stage} ({self.name}): {_describe(rule, wanted, len(names), len(on_disk))}"
        if missing:
            report += f"; {missing} of the complete selection missing"
        if wanted.count and missing_names and (others := sum(name not in listed for name in names)):
            report += f", {others} other(s) stand in"
        if strict and missing:
            raise SplitError(_strict_message(report, missing_names))
        return Selection(self.name, dataset, stage, wanted.pool, names, wanted.count, missing_names, missing, report)

    def rule(self, dataset: str) -> DatasetRule:
        """The rule of a dataset.

        Raises:
            SplitError: If the manifest does not cover the dataset; names those that it covers.
        """
        if dataset not in self.rules:
            raise SplitError(
                f"The manifest '{self.name}' does not cover the dataset '{dataset}' (it covers: "
                f"{', '.join(self.rules)}). Choose another manifest: {', '.join(known_manifests())}."
            )
        return self.rules[dataset]

    def _source(self, dataset: str, stage: str) -> str:
        rule = self.rule(dataset)
        source = rule.same_as.get(stage, stage)
        if source not in rule.stages:
            raise SplitError(
                f"The manifest '{self.name}' has no '{stage}' pairs of {dataset} (it has: "
                f"{', '.join(self.stages(dataset))}). Choose another manifest: {', '.join(known_manifests())}."
            )
        return source

    def _check_leakage(self, dataset: str, rule: DatasetRule) -> None:
        for first, second in combinations(rule.lists, 2):
            if shared := sorted(set(rule.lists[first]) & set(rule.lists[second])):
                raise SplitError(
                    f"The manifest '{self.name}' lists {len(shared)} pair(s) of {dataset} for both '{first}' and "
                    f"'{second}' ({', '.join(shared[:5])}): results would be measured on training pairs. Remove them "
                    f"from one list."
                )

    def _check_shares(self, dataset: str, pool: str, rule: DatasetRule) -> None:
        sharing = rule.sharing(pool)
        if len(sharing) == 1 or rule.unlisted is not None or rule.follow is not None:
            return
        total = sum(stage.fraction or 0.0 for stage in sharing.values())
        if any(stage.fraction is None for stage in sharing.values()) or abs(total - 1.0) > 1e-6:
            raise SplitError(
                f"The manifest '{self.name}': nothing keeps the stages {', '.join(sharing)} of {dataset} apart, which "
                f"share the pool '{pool}'. Give each a fraction (with the sum 1), or set 'unlisted' or 'follow'."
            )


@lru_cache
def _followed(name: str) -> Manifest:
    return Manifest.load(name)


def _stage_by_share(sharing: Mapping[str, StageRule], position: float) -> str:
    covered = 0.0
    for stage, rule in sharing.items():
        covered += rule.fraction or 0.0
        if position < covered:
            return stage
    return list(sharing)[-1]


def _shortfall(rule: DatasetRule, wanted: StageRule, found: int, on_disk: int) -> int:
    """How many pairs a part of the data lacks; whatever share a complete pool gives counts as complete."""
    if wanted.count is not None:
        return max(0, wanted.count - found)
    released = rule.released.get(wanted.pool, 0)
    if rule.follow is not None or rule.scenes is not None or on_disk >= released:
        return 0
    return max(0, round(released * (wanted.fraction or 1.0)) - found)


def _describe(rule: DatasetRule, wanted: StageRule, found: int, on_disk: int) -> str:
    counted = f"{found} of {wanted.count} pairs" if wanted.count is not None else f"{found} pairs"
    released = rule.released.get(wanted.pool)
    return f"{counted} (on disk: {on_disk}" + (f" of {released} released" if released else "") + f" in '{wanted.pool}')"


def _strict_message(report: str, missing_names: Sequence[str]) -> str:
    named = f" Missing: {', '.join(missing_names[:10])}" if missing_names else ""
    named += f" and {len(missing_names) - 10} more" if len(missing_names) > 10 else ""
    return (
        f"{report}.{named}. Complete the dataset (DATASETS.md says where it is released), or set strict: false to use "
        f"what is there."
    )
