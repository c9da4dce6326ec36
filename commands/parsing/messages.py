"""What the parser says about a wrong option, in our words: the whole path of its key, what was expected, what came.

An option's type tells what was expected; the parser's prose is asked for the key and the given value alone.
"""

import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from itertools import takewhile
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from ivif.commands.errors import UsageError, reason
from ivif.commands.parsing.named_files import option_for
from ivif.commands.parsing.option_names import as_typed, nearest
from ivif.commands.program import program
from ivif.contracts.class_paths import known_names, refusal
from ivif.contracts.plugins import DATASETS, METHODS

_KEY: Final = re.compile(r'Parser key "(?P<key>[^"]+)"[^:]*:\s*(?P<rest>.*)', re.DOTALL)
_GIVEN: Final = re.compile(r"(?:(?:Got|Given) value: |Unable to load config )(?:NestedArg\(.*?val=)?(.*)")
_UNKNOWN: Final = re.compile(r"(?:Group '(?P<group>[^']+)' .*|Subcommand .*)?[Oo]ption '(?P<key>[^']+)'.*")
_DENIED: Final = re.compile(r"Importing '([^']+)' is not allowed")
_UNRECOGNIZED: Final = "unrecognized arguments: "
_REQUIRED: Final = "the following arguments are required: "
_NEAREST: Final = ", but there is "
_KINDS: Final = {NoneType: "null", bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_NAMED: Final = {"model": METHODS, "data": DATASETS}
"""Options whose value is the name of a class that may come from an installed package."""

_MISSING: Final = {
    "model": "no method is given: add --config FILE, for instance --config mgfusion.yaml; validate, test and predict "
    "take the method of a checkpoint: --ckpt_path FILE, or --run RUN_FOLDER",
    "data": "no data are given: add --data FILE, for instance --data folder.yaml",
}


def explain(message: str, options: Mapping[str, Any]) -> UsageError:
    """The error that says in our words what the parser says; what it says readably stays as it is.

    Args:
        message: As the parser gives it. That of a parser around a class holds what the parser of the class raised.
        options: The types of its options by their names without dashes; None for those without a type.
    """
    found = _KEY.match(message)
    hint = f"(see: {program()} SUBCOMMAND --help, and --print_config)"
    denied = _DENIED.search(message)
    if denied and not denied[1].endswith((".yaml", ".yml")):
        return UsageError(refusal(denied[1]))
    if found and denied:
        text = f"{found['key']}: there is no file '{denied[1]}'"
    elif found and (inner := reason(found["rest"])).endswith(hint):
        inside = f"{found['key']}."
        text = inside + inner.removesuffix(hint).strip().replace(_NEAREST, f"{_NEAREST}{inside}")
    elif found:
        text = f"{found['key']}: {_wrong_value(found['key'], found['rest'], options)}"
    elif message.startswith(_REQUIRED):
        names = [name.rpartition(".")[2] for name in message.removeprefix(_REQUIRED).split(", ")]
        first = [name for name in _MISSING if name in names][:1]
        text = "\n".join(f"{name}: {_MISSING.get(name, 'needed, and not given')}" for name in first or names)
    elif message.startswith(_UNRECOGNIZED):
        text = _unrecognized(message.removeprefix(_UNRECOGNIZED).split(), options)
    elif missing := _UNKNOWN.fullmatch(message):
        text = _unknown(".".join(filter(None, (missing["group"], missing["key"]))), options)
    else:
        text = message
    return UsageError(as_typed(text), hint)


def _unrecognized(words: list[str], options: Mapping[str, Any]) -> str:
    """Of words that belong to no option: those before the first option; else the unknown options."""
    names = [word for word in words if re.match(r"-(?![\d.])", word)]
    strays = [_stray(word) for word in takewhile(lambda word: word not in names, words)]
    return "\n".join(strays or [_unknown(name.lstrip("-").partition("=")[0], options) for name in names])


def _stray(word: str) -> str:
    meant = option_for(word)
    return f"'{word}' belongs to no option{f': it is given as {meant}' if meant else ''}"


def _unknown(key: str, options: Mapping[str, Any]) -> str:
    found = nearest(key, options)
    return f"{key}: there is no such option{_NEAREST if found else ''}{', '.join(found)}"


def _wrong_value(key: str, text: str, options: Mapping[str, Any]) -> str:
    """What is wrong with the value of an option, or that it is of another type."""
    problem, given = " ".join(reason(text).split()), _GIVEN.findall(text)
    if problem or not given:
        return f"{problem or text}{_known(key, problem) if 'class_path' in problem else ''}"
    value = given[-1][:200].strip("'\")") if "NestedArg" in text or "Unable" in text else given[-1][:200]
    kind = _kind(options.get(key))
    if key in _NAMED:
        kind = f"{kind.removesuffix(' or null')}, or a file that holds one"
    return f"expected {kind}, got {'null' if value == 'None' else value}{_known(key, value)}"


def _known(key: str, value: str) -> str:
    """The nearest names of methods or datasets, or all of them, where the option takes one."""
    if key not in _NAMED:
        return ""
    names = {_stem(name): name for name in known_names(_NAMED[key])}
    near = [
        names[one] for word in re.findall(r"\w+", value) for one in get_close_matches(_stem(word), names, cutoff=0.7)
    ]
    return f". {'The nearest' if near else 'Known'}: {', '.join(dict.fromkeys(near or names.values()))}"


def _stem(name: str) -> str:
    return re.sub("(task|datamodule)$", "", name.lower())


def _kind(hint: Any) -> str:
    """What a type takes, in a user's words; an option without a type is a group of others.

    Example:
        >>> _kind(tuple[int, int] | None)
        'a list of 2 elements (each a whole number) or null'
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin in (Union, UnionType, tuple):
        kinds = " or ".join(dict.fromkeys(_kind(part) for part in parts if part is not ...))
        length = "" if ... in parts else f" of {len(parts)} elements"
        return f"a list{length} (each {kinds})" if origin is tuple else kinds
    if hint is None or is_dataclass(hint):
        return "a mapping of its options"
    name = getattr(origin or hint, "__name__", str(hint))
    return _KINDS.get(hint) or ("a list" if origin else f"a {name}")
