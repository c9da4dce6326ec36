"""A look at a configuration file before the parser reads it: what YAML allows, but no configuration means."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ivif.commands.errors import UsageError
from ivif.contracts.class_paths import full_path, known_names
from ivif.contracts.plugins import DATASETS, METHODS
from ivif.files.plain_yaml import LARGEST_TEXT, PlainYamlError, measure

GROUPS: Final = (
    "trainer",
    "loading",
    "transforms",
    "checkpoint",
    "evaluator",
    "images",
    "memory_guard",
    "gradient_norms",
    "compilation",
    "boxes",
)
"""Sections of which the parser assumes that they are mappings, or files that hold one."""


CLASS_OPTIONS: Final = {"--model": METHODS, "--data": DATASETS}
"""Options whose value can be the name of a class -> the kind of those that there are."""

_WHOLE: Final = {"model", "data", "trainer"}
"""Keys that whole configurations have."""


def is_file(text: str) -> bool:
    """Whether a value of an option is the path of a file; a long text, such as YAML, is none."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def check_config_file(option: str, path: Path) -> None:
    """Refuses a file that the parser would misread, take for another thing, or read for ever.

    Nothing in it is built: tags such as `!!python/object` are refused, not followed.

    Args:
        option: Which option names it, for the message.
        path: The file.

    Raises:
        UsageError: If it cannot be read, is no YAML mapping, or gives a key twice; names file and line.
    """
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise _refusal(option, path, f"has {path.stat().st_size} bytes, too many for a configuration")
        text = path.read_text(encoding="utf-8-sig")
        measure(text)
        root: Node | None = yaml.compose(text, yaml.SafeLoader)  # the faster loader names no undefined alias
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(option, path, f"cannot be read as UTF-8 text ({error})") from error
    except yaml.YAMLError as error:
        raise _refusal(option, path, f"is no YAML: {' '.join(str(error).split())}") from error
    except PlainYamlError as error:
        raise _refusal(option, path, error.reason, error.line) from error
    if root is None:
        raise _refusal(option, path, "is empty")
    if not isinstance(root, MappingNode):
        raise _refusal(option, path, "holds no mapping of options, but a list or a single value")
    _check(root, option, path)
    _refuse_other_kind(option, path, {str(key.value): value for key, value in root.value})
    for key, value in root.value:
        named = isinstance(value, ScalarNode) and value.value.endswith((".yaml", ".yml"))
        whole = isinstance(value, MappingNode) or named
        if isinstance(value, SequenceNode) or (key.value in GROUPS and not whole):
            raise _refusal(option, path, f"needs a mapping of options for '{key.value}'", _line(value))


def _refuse_other_kind(option: str, path: Path, parts: Mapping[str, Node]) -> None:
    """Refuses a whole configuration where a part is chosen, and a part where a whole configuration is."""
    file = min(str(path), os.path.relpath(path), key=len)
    typed = shlex.quote(file)
    kind = meant = ""
    if option == "--config" and "class_path" in parts:
        name = full_path(str(parts["class_path"].value))
        takes = [other for other, group in CLASS_OPTIONS.items() if name in known_names(group).values()]
        kind, meant = f"chooses one part, {parts['class_path'].value}", f"{takes[0] if takes else '--PART'} {typed}"
    elif option == "--config" and {"program", "parameters"} <= parts.keys():
        kind, meant = "is a sweep of W&B", f"wandb sweep {typed}"
    elif option in CLASS_OPTIONS and "class_path" not in parts and _WHOLE & parts.keys():
        kind, meant = "is a whole configuration", f"--config {typed}"
    if kind:
        raise UsageError(f"{option} {file}: the file {kind}. Give it as: {meant}")


def _check(root: Node, option: str, path: Path) -> None:
    """Refuses what no configuration means, in every value; those with several names are looked at once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        _refuse_tag(node, option, path)
        if isinstance(node, MappingNode):
            _refuse_twice(node, option, path)
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            waiting += node.value


def _refuse_tag(node: Node, option: str, path: Path) -> None:
    if not str(node.tag).startswith("tag:yaml.org,2002:") or "python" in str(node.tag):
        tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
        raise _refusal(option, path, f"has the tag {tag}, and only plain values are read", _line(node))


def _refuse_twice(node: MappingNode, option: str, path: Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise _refusal(option, path, "has a key that is no text", _line(key))
        if key.value in seen:
            raise _refusal(option, path, f"gives '{key.value}' twice, of which one would be lost", _line(key))
        seen.add(key.value)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _refusal(option: str, path: Path, reason: str, line: int | None = None) -> UsageError:
    where = "" if line is None else f", line {line}"
    return UsageError(f"{option} '{path}'{where}: the file {reason}. Correct it; configs/ has examples.")
