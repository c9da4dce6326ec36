"""Writes the expansion of manifests: the committed lists beside each rule, and the lists that a run used."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.datamodules.manifest_rules import (
    SPLITS_FOLDER,
    DatasetRule,
    checksum,
    known_manifests,
    list_names,
    list_text,
    parse_rules,
    read_yaml,
)
from ivif.datamodules.manifests import Manifest, Selection
from ivif.files.errors import SplitError
from ivif.files.whole import write_whole

GENERATED: Final = "# Below: written by `python main.py data manifests --write`.\n"
GUARD: Final = "guard"
"""The list of names that no stage may use, because they lie next to a scene of another stage."""


@dataclass(frozen=True)
class Scene:
    """Consecutive ids with one recording condition."""

    condition: str
    names: tuple[str, ...]


def known_names(dataset: str, pool: str) -> list[str]:
    """The committed names of a dataset's pool, sorted; `all` joins the official splits. Empty where none are known."""
    files = [SPLITS_FOLDER / "names" / f"{dataset}_{pool}.txt"]
    if pool == "all" and not files[0].is_file():
        files = sorted((SPLITS_FOLDER / "names").glob(f"{dataset}_*.txt"))
    return sorted(name for file in files if file.is_file() for name in file.read_text(encoding="utf-8").splitlines())


def expand(manifest: Manifest) -> dict[str, list[str]]:
    """The lists of a manifest's rule over the known names.

    Args:
        manifest: The rules; lists that it may already hold are not looked at.

    Returns:
        Names in hash order by `<dataset>_<stage>`; nothing for datasets without known names.
    """
    lists: dict[str, list[str]] = {}
    for dataset, rule in manifest.rules.items():
        stages = _expand_scenes(manifest, dataset, rule) if rule.scenes else _expand_pools(manifest, dataset, rule)
        lists |= {f"{dataset}_{stage}": names for stage, names in stages.items() if names}
    return lists


def _expand_pools(manifest: Manifest, dataset: str, rule: DatasetRule) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for pool in dict.fromkeys(stage.pool for stage in rule.stages.values()):
        names = manifest.order(dataset, known_names(dataset, pool))
        sharing = rule.sharing(pool)
        if rule.follow is None and all(stage.fraction is not None for stage in sharing.values()):
            lists |= _by_share(names, {stage: entry.fraction or 0.0 for stage, entry in sharing.items()}, rule.strata)
            continue
        for stage, entry in sharing.items():
            if rule.follow is not None and entry.count is None:
                continue  # the lists of the manifest that is followed say it all
            chosen = (
                names if rule.follow is None else [n for n in names if manifest.stage_of(dataset, n, pool) == stage]
            )
            lists[stage] = chosen[: entry.count]
            names = [name for name in names if name not in set(lists[stage])]
    return lists


def _by_share(names: Sequence[str], shares: Mapping[str, float], strata: str | None) -> dict[str, list[str]]:
    """Divides ordered names by rank within each stratum (what the expression matches): every share is exact."""
    groups: dict[str, list[str]] = {}
    for name in names:
        found = re.search(strata, name) if strata else None
        groups.setdefault(found.group() if found else "", []).append(name)
    stage_of: dict[str, str] = {}
    for group in groups.values():
        start, covered = 0, 0.0
        for stage, share in shares.items():
            covered += share
            end = round(covered * len(group))
            stage_of |= dict.fromkeys(group[start:end], stage)
            start = end
    return {stage: [name for name in names if stage_of[name] == stage] for stage in shares}


def _expand_scenes(manifest: Manifest, dataset: str, rule: DatasetRule) -> dict[str, list[str]]:
    pool = next(iter(rule.stages.values())).pool
    names = known_names(dataset, pool)
    shares = {stage: entry.fraction or 0.0 for stage, entry in rule.stages.items()}
    stage_of = _divide_scenes(manifest, dataset, read_scenes(str(rule.scenes), names), shares)
    guarded = _guard(names, stage_of, rank={stage: index for index, stage in enumerate(shares)}, width=rule.guard)
    stage_of |= dict.fromkeys(guarded, GUARD)
    ordered = manifest.order(dataset, names)
    return {stage: [name for name in ordered if stage_of[name] == stage] for stage in (*shares, GUARD)}


def read_scenes(table: str, names: Sequence[str]) -> list[Scene]:
    """The scenes of `names/<table>.csv` (first id, last id, condition).

    Raises:
        SplitError: If the table leaves out a name, or the ranges overlap.
    """
    text = (SPLITS_FOLDER / "names" / f"{table}.csv").read_text(encoding="utf-8")
    rows = [row.split(",") for row in text.split()[1:]]
    scenes = [Scene(row[2], tuple(name for name in names if row[0] <= name <= row[1])) for row in rows]
    if sorted(name for scene in scenes for name in scene.names) != sorted(names):
        raise SplitError(f"The scenes of 'names/{table}.csv' do not hold every name exactly once. Correct its ranges.")
    return scenes


def _divide_scenes(
    manifest: Manifest, dataset: str, scenes: Iterable[Scene], shares: Mapping[str, float]
) -> dict[str, str]:
    """Stage by name. Within a condition scenes are drawn in hash order, and kept where that brings the share closer."""
    by_condition: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_condition.setdefault(scene.condition, []).append(scene)
    last = list(shares)[-1]
    stage_of: dict[str, str] = {}
    for members in by_condition.values():
        total = sum(len(scene.names) for scene in members)
        left = sorted(members, key=lambda scene: manifest.position(dataset, f"scene/{scene.names[0]}"))
        for stage, share in shares.items():
            taken = left if stage == last else _closest(left, share * total)
            stage_of |= {name: stage for scene in taken for name in scene.names}
            left = [scene for scene in left if scene not in taken]
    return stage_of


def _closest(scenes: Sequence[Scene], wanted: float) -> list[Scene]:
    taken: list[Scene] = []
    count = 0
    for scene in scenes:
        if abs(count + len(scene.names) - wanted) < abs(count - wanted):
            taken.append(scene)
            count += len(scene.names)
    return taken


def _guard(names: Sequence[str], stage_of: Mapping[str, str], rank: Mapping[str, int], width: int) -> set[str]:
    """The names within `width` of a border between stages, on the side of the stage that comes later in the YAML."""
    guarded: set[str] = set()
    for index, (before, after) in enumerate(pairwise(names), start=1):
        if rank[stage_of[before]] > rank[stage_of[after]]:
            guarded.update(names[max(0, index - width) : index])
        elif rank[stage_of[before]] < rank[stage_of[after]]:
            guarded.update(names[index : index + width])
    # a short scene of the kept side may lie within reach of the next border
    return {name for name in guarded if rank[stage_of[name]] > 0}


def committed_text(name: str) -> tuple[str, dict[str, list[str]]]:
    """What a committed manifest's YAML and lists should hold, from its rule and the known names."""
    path = SPLITS_FOLDER / f"{name}.yaml"
    content = read_yaml(path)
    manifest = Manifest(name, int(content.get("seed", 0)), parse_rules(path, content, {}))
    lists = expand(manifest)
    known = {
        dataset: {pool: f"{len(known_names(dataset, pool))} of {count}" for pool, count in rule.released.items()}
        for dataset, rule in manifest.rules.items()
    }
    rule_text = path.read_text(encoding="utf-8").split(GENERATED)[0]
    return rule_text + GENERATED + _generated(lists, known), lists


def outdated() -> list[str]:
    """The committed manifests whose lists are not what their rule gives."""
    return [name for name in known_manifests() if not _is_current(name)]


def _is_current(name: str) -> bool:
    text, lists = committed_text(name)
    if (SPLITS_FOLDER / f"{name}.yaml").read_text(encoding="utf-8") != text:
        return False
    folder = SPLITS_FOLDER / name
    found = {file.stem: list_names(file.read_text(encoding="utf-8")) for file in folder.glob("*.txt")}
    return found == lists


def write_committed() -> list[str]:
    """Writes the lists of every committed manifest again; returns the names of those written."""
    # a manifest that follows another one needs that one's lists first
    names = sorted(known_manifests(), key=lambda name: "follow:" in (SPLITS_FOLDER / f"{name}.yaml").read_text("utf-8"))
    for name in names:
        text, lists = committed_text(name)
        _write(SPLITS_FOLDER / f"{name}.yaml", text, lists)
    return names


def write_expansion(path: Path, selections: Iterable[Selection]) -> None:
    """Writes what a run used, as a manifest that `Manifest.load(path)` reads back: exactly these pairs, in this order.

    Args:
        path: The YAML file to write; its lists go into a folder beside it, of the same name.
        selections: One for every stage of every dataset that the run used.
    """
    datasets: dict[str, Any] = {}
    lists: dict[str, list[str]] = {}
    source = ""
    for selection in selections:
        entry = datasets.setdefault(selection.dataset, {"released": {}, "unlisted": "none", "stages": {}})
        source, stages = selection.manifest, entry["stages"]
        twins = [stage for stage in stages if lists.get(f"{selection.dataset}_{stage}") == selection.names]
        if twins and selection.names:
            stages[selection.stage] = {"same_as": twins[0]}
            continue
        stages[selection.stage] = {"pool": selection.pool, "count": len(selection.names)}
        lists[f"{selection.dataset}_{selection.stage}"] = selection.names
    head = {"description": f"The pairs that a run used, chosen by the manifest '{source}'", "datasets": datasets}
    _write(path, yaml.safe_dump(head, sort_keys=False) + _generated(lists), lists)


def _generated(lists: Mapping[str, Sequence[str]], known: Mapping[str, Mapping[str, str]] | None = None) -> str:
    content: dict[str, Any] = {}
    if known is not None:
        content["known"] = {dataset: dict(pools) for dataset, pools in known.items() if pools}
    content["lists"] = {key: {"count": len(names), "sha256": checksum(names)} for key, names in lists.items()}
    return yaml.safe_dump(content, sort_keys=False, width=200)


def _write(path: Path, text: str, lists: Mapping[str, Sequence[str]]) -> None:
    folder = path.with_suffix("")
    for key, names in lists.items():
        write_whole(folder / f"{key}.txt", list_text(names))
    write_whole(path, text)
    for stale in {*folder.glob("*.txt")} - {folder / f"{key}.txt" for key in lists}:
        stale.unlink()  # last: a kill before leaves a manifest that can be read
