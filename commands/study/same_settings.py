"""Which rows of a study were trained alike: one of two that share all settings is not what its name says."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.study.record import StudyRun
from ivif.files.inside import read_inside
from ivif.files.plain_yaml import PlainYamlError, parse_plain

_OF_THE_RUN_ALONE: Final = ("run_name", "runs_dir")


def trained_alike(study: Path, runs: Iterable[StudyRun]) -> list[str]:
    """A line for each set of rows whose runs of one seed and fold had the same settings, by their `config.yaml`.

    Args:
        study: The study's folder.
        runs: Those of its record.
    """
    rows: dict[tuple[int, int | None, str], list[str]] = {}
    for run in runs:
        if run.kind == "run" and run.folder and (settings := _settings(study / run.folder, study)):
            rows.setdefault((run.seed, run.fold, settings), []).append(run.row)
    alike = dict.fromkeys(tuple(names) for names in rows.values() if len(names) > 1)
    return [
        f"{', '.join(names)} have the same settings: what should tell them apart is how it is without, or a later "
        f"option takes it back"
        for names in alike
    ]


def _settings(folder: Path, study: Path) -> str:
    """All of a run but its name and place, as text; empty where that is not known."""
    path = folder / "config.yaml"
    if not path.is_file():
        return ""
    try:
        found: Any = parse_plain(read_inside(path, study).decode())
    except (PlainYamlError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    if not isinstance(found, dict):
        return ""
    left = {key: value for key, value in found.items() if key not in _OF_THE_RUN_ALONE}
    return json.dumps(left, sort_keys=True, default=str)
