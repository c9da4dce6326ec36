"""What `--help` says beside the options: the methods and data that can be named, a line each."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from ivif.contracts.class_paths import known_names
from ivif.contracts.plugins import DATASETS, METHODS, installed

_ROOMS: Final = Path(__file__).resolve().parents[2]
"""Where the rooms lie, in a clone and in an installed package."""
_LISTS: Final = {
    "--model": (METHODS, "Methods, by --config FILE or --model NAME; --model.help NAME lists the options of one"),
    "--data": (DATASETS, "Data, by --data FILE or --data NAME; --data.help NAME lists the options of one"),
}
_LINKED: Final = re.compile(r"^Linked arguments:\n(?: .*\n)+\n?", re.MULTILINE)
"""What fills in what, by names of functions of ours."""
_SUBCLASSES: Final = re.compile(r",\s+known\s+subclasses:\s+ivif\.(?:lightning_modules|datamodules)\.[\w.,\s]+(?=\))")
"""Those that happen to be imported."""
_CLASS: Final = re.compile(r"<class '([\w.]+)'>")


def completed(text: str, options: Collection[str]) -> str:
    """The help of a parser without what only a programmer reads, and with what can be named.

    Args:
        text: As the parser gives it.
        options: Its options.
    """
    text = _CLASS.sub(r"\1", _SUBCLASSES.sub("", _LINKED.sub("", text)))
    commands = _LISTS.items() if "--config" in options else ()  # not where the options of one class are listed
    lists = [f"{title}:\n{_lines(group)}" for option, (group, title) in commands if option in options]
    return "\n".join([text, *lists])


def _lines(group: str) -> str:
    return "".join(f"  {name:22} {says}\n" for name, says in described(group).items())


def described(group: str) -> dict[str, str]:
    """The methods or datasets that can be named, each with a line about it; nothing of them is imported.

    Args:
        group: `METHODS` or `DATASETS`.
    """
    foreign = installed(group)
    return {
        name: _summary_of_package(name, group) if name in foreign else _first_line(path)
        for name, path in known_names(group).items()
    }


def _summary_of_package(name: str, group: str) -> str:
    entry = installed(group)[name]
    metadata: Any = entry.dist.metadata if entry.dist else {}
    summary = metadata["Summary"] if "Summary" in metadata else "no description"  # noqa: SIM401 - has no get
    return f"{summary} (package {entry.module.partition('.')[0]})"


def _first_line(path: str) -> str:
    """The first line of a class's docstring, without what it refers to."""
    module, _, name = path.rpartition(".")
    file = _ROOMS.joinpath(*module.split(".")[1:]).with_suffix(".py")
    found = (node for node in _classes(ast.parse(file.read_text(encoding="utf-8"))) if node.name == name)
    return next((ast.get_docstring(node) or "" for node in found), "").partition("\n")[0].partition("; see `")[0]


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in tree.body if isinstance(node, ast.ClassDef))
