"""The lists beside YOLO files that say what their ids mean: `classes.txt`, `obj.names`, `data.yaml`."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.datamodules.datasets.labels.class_names import checked_class_name, checked_class_names
from ivif.datamodules.datasets.labels.formats.shared import FileState, file_state, label_text
from ivif.files.errors import LabelError
from ivif.files.names import printable
from ivif.files.plain_yaml import PlainYamlError, parse_plain

CLASS_LIST_FILES: Final = ("classes.txt", "obj.names", "data.yaml", "dataset.yaml")

LONGEST_ID: Final = 4
"""Digits of an id: a line of a file could ask for a billion names."""

ClassLists = tuple[tuple[Path, FileState], ...]
"""Lists that lie beside label files, with their states."""


def class_lists(folder: Path) -> ClassLists:
    """The lists that name the ids of the YOLO files in a folder: those in it, else above it; () where there is none.

    Folders such as `labels/train` belong to the list beside `labels`.
    """
    places = [folder, folder.parent]
    if folder.parent.name.casefold() == "labels":
        places.append(folder.parent.parent)
    for place in places:
        files = [place / name for name in CLASS_LIST_FILES if (place / name).is_file()]
        if files:
            return tuple((file, file_state(file)) for file in files)
    return ()


@lru_cache(maxsize=64)
def listed_classes(lists: ClassLists) -> tuple[str, ...]:
    """The names that lists give, by id; "" for an id without one. Cached, as they serve many files.

    Raises:
        LabelError: If a list cannot be read, a name cannot be shown or comes twice, or two lists differ.
    """
    known: dict[Path, tuple[str, ...]] = {}
    for path, _ in lists:
        names = _yaml_names(path) if path.suffix == ".yaml" else _text_names(path)
        if names:
            known[path] = names
    if len(set(known.values())) > 1:
        files = " and ".join(f"'{printable(path)}'" for path in known)
        raise LabelError(
            f"{files} differ in what the ids of the labels mean. Remove the wrong one, or give the names in the order "
            f"of the ids as `label_classes`."
        )
    return next(iter(known.values()), ())


def _text_names(path: Path) -> tuple[str, ...]:
    """One name per line; an empty line between two names could count as an id or not."""
    names = [line.strip() for line in label_text(path).rstrip().split("\n")]
    if names == [""]:
        return ()
    if "" in names:
        raise LabelError(f"'{printable(path)}', line {names.index('') + 1} is empty. Give it a name.")
    return checked_class_names(names, f"'{printable(path)}'")


def _yaml_names(path: Path) -> tuple[str, ...]:
    """The entry `names` of a YOLO project: a list, or a mapping from ids; () where there is none."""
    where = f"'{printable(path)}'"
    try:
        content = parse_plain(label_text(path))
        names = content.get("names") if isinstance(content, dict) else None
    except (PlainYamlError, yaml.YAMLError) as error:
        problem = " ".join(printable(error).split())
        raise LabelError(
            f"{where} is no YAML ({problem}). Repair it, or remove it and give `label_classes`."
        ) from error
    by_id = dict(enumerate(names)) if isinstance(names, list) else names or {}
    if not isinstance(by_id, dict) or not all(_is_id(key) for key in by_id):
        raise LabelError(f"{where}: `names` must be a list of class names, or map ids to names. Correct it.")
    named = {int(key): checked_class_name(str(name), where) for key, name in by_id.items()}
    checked_class_names(named.values(), where)
    return tuple(named.get(index, "") for index in range(max(named, default=-1) + 1))


def _is_id(key: Any) -> bool:
    text = str(key)
    return text.isdecimal() and len(text) <= LONGEST_ID
