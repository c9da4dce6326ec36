"""A look at a configuration file before the parser reads it: what YAML allows, but no configuration means."""

from pathlib import Path
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from commands.errors import UsageError

LARGEST_FILE: Final = 1_000_000
"""Bytes; the longest of ours have 2,000."""

MOST_VALUES: Final = 100_000
"""Values after aliases are written out: ten lines of YAML can stand for billions."""

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
        if path.stat().st_size > LARGEST_FILE:
            raise _refusal(option, path, f"has {path.stat().st_size} bytes, too many for a configuration")
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(option, path, f"cannot be read as UTF-8 text ({error})") from error
    except yaml.YAMLError as error:
        raise _refusal(option, path, f"is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise _refusal(option, path, "has more levels than a configuration can have") from error
    if root is None:
        raise _refusal(option, path, "is empty")
    if not isinstance(root, MappingNode):
        raise _refusal(option, path, "holds no mapping of options, but a list or a single value")
    _check(root, option, path)
    for key, value in root.value:
        named = isinstance(value, ScalarNode) and value.value.endswith((".yaml", ".yml"))
        whole = isinstance(value, MappingNode) or named
        if isinstance(value, SequenceNode) or (key.value in GROUPS and not whole):
            raise _refusal(option, path, f"needs a mapping of options for '{key.value}'", value)


def _check(root: Node, option: str, path: Path) -> None:
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        """How many values a node stands for; -1 while it is being looked at."""
        if isinstance(node, ScalarNode) or id(node) in sizes:
            _refuse_tag(node, option, path)
            known = sizes.get(id(node), 1)
            if known < 0:
                raise _refusal(option, path, "holds itself by an alias", node)
            return known
        _refuse_tag(node, option, path)
        sizes[id(node)] = -1
        if isinstance(node, MappingNode):
            _refuse_twice(node, option, path)
        children = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        sizes[id(node)] = 1 + sum(size(child) for child in children)
        if sizes[id(node)] > MOST_VALUES:
            raise _refusal(option, path, f"stands for more than {MOST_VALUES} values by its aliases", node)
        return sizes[id(node)]

    size(root)


def _refuse_tag(node: Node, option: str, path: Path) -> None:
    if not str(node.tag).startswith("tag:yaml.org,2002:") or "python" in str(node.tag):
        tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
        raise _refusal(option, path, f"has the tag {tag}, and only plain values are read", node)


def _refuse_twice(node: MappingNode, option: str, path: Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise _refusal(option, path, "has a key that is no text", key)
        if key.value in seen:
            raise _refusal(option, path, f"gives '{key.value}' twice, of which one would be lost", key)
        seen.add(key.value)


def _refusal(option: str, path: Path, reason: str, node: Node | None = None) -> UsageError:
    line = "" if node is None else f", line {node.start_mark.line + 1}"
    return UsageError(f"{option} '{path}'{line}: the file {reason}. Correct it; configs/ has examples.")
