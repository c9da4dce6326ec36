"""What the parser says about a wrong option, as one line for each key: its whole path, what was expected, what came.

jsonargparse lists every type that a value might have had, as a tree, with the last part of a key at each level.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

Path = tuple[str, ...]

_LINE: Final = re.compile(r"(?P<blanks> *)(?P<bullet>- )?(?P<text>.*)")
_KEY: Final = re.compile(r'Parser key "(?P<key>[^"]+)":\s*(?P<rest>.*)')
_EXPECTED: Final = re.compile(r"Expected an? (?P<kind>.+?)(?:\. Got value: (?P<value>.*))?$")
_NOT_THERE: Final = (
    re.compile(r"Option '(?P<key>[^']+)' is not accepted"),
    re.compile(r"Subcommand '\w+' does not accept option '(?P<key>[^']+)'"),
    re.compile(r"Group '(?P<group>[^']+)' does not accept option '(?P<key>[^']+)'"),
)
_NEAREST: Final = re.compile(r" \[nearest: (?P<pairs>[^\]]*)\]$")
_NO_CLASS: Final = re.compile(r"Expected a dot import path string: (?P<value>\S+)")
_NESTED_VALUE: Final = re.compile(r"NestedArg\(key='(?P<key>[^']*)', val='?(?P<value>.*?)'?\)$")
_REQUIRED: Final = re.compile(r"the following arguments are required: (?P<names>[^\n]+)")
_MAPPING: Final = re.compile(r'Unable to load config "(?P<value>.*)"|Not a valid subclass of ')
_UNRECOGNIZED: Final = "unrecognized arguments: "
_NOISE: Final = re.compile(
    r"Does not validate against any of the Union subtypes|Subtypes: |Errors:$|Given value type: |Subclass types expect|"
    r"a class path \(str\)|a dict with|Unable to load config '"
)
_CLASSES: Final = {
    "model": "ivif.lightning_modules.mgfusion.MGFusionTask",
    "data": "ivif.datamodules.tno.TNODataModule",
}
_KINDS: Final = {"NoneType": "null", "bool": "true or false", "int": "a whole number", "float": "a number"} | {
    "str": "a text",
    "tuple": "a list",
    "collections.abc.Sequence": "a list",
    "collections.abc.Iterable": "a list",
}


@dataclass
class _Findings:
    """What was expected, given and refused, by key."""

    expected: dict[Path, list[str]] = field(default_factory=dict)
    given: dict[Path, str] = field(default_factory=dict)
    refused: dict[Path, list[str]] = field(default_factory=dict)


def explain(message: str) -> str:
    """The parser's message, shortened; any other message as it is.

    Example:
        >>> explain("Subcommand 'fit' does not accept option 'trainer.max_epoch'")
        'trainer.max_epoch: there is no such option'
    """
    if required := _REQUIRED.match(message):
        return _required(required["names"].split(", "))
    findings = _read(message)
    paths = [*findings.expected, *findings.refused]
    lines = []
    for path in dict.fromkeys(paths):
        if any(len(other) > len(path) and other[: len(path)] == path for other in paths):
            continue  # one of several types that the whole value might have had: the reason lies deeper
        if path in findings.refused:
            reasons = " ".join(findings.refused[path])
            if findings.given.get(path, reasons) not in reasons:
                reasons += f", got {findings.given[path]}"
            lines.append(f"{_name(path)}: {reasons}" if path else reasons)
        elif path in findings.expected:
            given = {"None": "null"}.get(findings.given.get(path, ""), findings.given.get(path))
            got = f", got {given}" if given is not None else ""
            lines.append(f"{_name(path)}: expected {' or '.join(findings.expected[path])}{got}")
    return "\n".join(lines) or message


def with_nearest(message: str, known: Sequence[str]) -> str:
    """A message about unknown options, with the nearest of those that the parser knows, for `explain` to show.

    Args:
        message: As the parser gives it.
        known: Names of its options, without dashes.
    """
    nearest = [(key, get_close_matches(key, known, n=1, cutoff=0.8)) for key in _missing_keys(message)]
    pairs = [f"{key}={close[0]}" for key, close in nearest if close]
    return f"{message} [nearest: {' '.join(pairs)}]" if pairs else message


def _required(names: Sequence[str]) -> str:
    parts = {name.rpartition(".")[2] for name in names}
    if "model" in parts:
        return "no method is given: add --config FILE, for instance --config configs/mgfusion.yaml"
    if "data" in parts:
        return "no data are given: add --data FILE, for instance --data configs/data/folder.yaml"
    options = [f"--{name.rpartition('.')[2]}" for name in names]
    return f"needed, and not given: {', '.join(options)}"


def _read(message: str) -> _Findings:
    findings = _Findings()
    if not any(mark in message for mark in ("Parser key", "is not accepted", "does not accept option", "unrecognized")):
        return findings
    for path, text in _leaves(message):
        keys = _missing_keys(text)
        nearest = _nearest(text)
        for key in keys:
            known = f", but there is {_name((*path, *nearest[key].split('.')))}" if key in nearest else ""
            findings.refused.setdefault((*path, *key.split(".")), []).append(f"there is no such option{known}")
        for word in _stray(text):
            findings.refused.setdefault(path, []).append(f"'{word}' belongs to no option")
        if _stray(text):
            continue
        if text.startswith("Given value: "):
            given = _NESTED_VALUE.sub(r"\g<value>", text.removeprefix("Given value: "))
            findings.given.setdefault(path, given[:200])
        elif found := _NO_CLASS.match(text):
            findings.refused.setdefault(path, []).append(
                f"'{found['value']}' is neither a file here or in configs/, nor a class with its module, such as "
                f"{_CLASSES.get('.'.join(path), 'module.Class')}"
            )
        elif not keys and not _expectation(findings, path, text):
            findings.refused.setdefault(path, []).append(text)
    return findings


def _expectation(findings: _Findings, path: Path, text: str) -> bool:
    """Notes what a line expects; False if it says something else."""
    found = _MAPPING.match(text) or _EXPECTED.match(text)
    if found is None or ": " in found.groupdict().get("kind", ""):
        return False
    kind = _kind(found["kind"]) if "kind" in found.groupdict() else "a mapping of its options"
    value = found["value"]
    kinds = findings.expected.setdefault(path, [])
    if kind not in kinds:
        kinds.append(kind)
    if value is not None:
        findings.given[path] = value[:200]
    return True


def _leaves(message: str) -> Iterator[tuple[Path, str]]:
    """Every line that says something, with the keys that it stands under."""
    stack: list[tuple[int, Path]] = []
    for line in message.splitlines():
        found = _LINE.match(line)
        if found is None or not found["text"].strip():
            continue
        depth, text = len(found["blanks"]) + len(found["bullet"] or ""), found["text"].strip()
        while stack and (stack[-1][0] > depth or (found["bullet"] and stack[-1][0] == depth)):
            stack.pop()
        if key := _KEY.match(text):
            path = tuple(key["key"].split("."))
            if not stack or stack[-1][1] != path:
                stack.append((depth, path))
            text = key["rest"]
        if text and not _NOISE.match(text) and not text.startswith("(see: "):
            yield tuple(part for _, path in stack for part in path), text


def _missing_keys(text: str) -> list[str]:
    """The options that a line says are unknown."""
    if text.startswith(_UNRECOGNIZED):
        words = _NEAREST.sub("", text).removeprefix(_UNRECOGNIZED).split()
        return [word.lstrip("-").partition("=")[0] or word for word in words if _is_option(word)]
    for pattern in _NOT_THERE:
        if found := pattern.match(text):
            return [".".join(part for part in (found.groupdict().get("group"), found["key"]) if part)]
    return []


def _stray(text: str) -> list[str]:
    """Words that a line calls unknown, and that are no values of unknown options before them."""
    if not text.startswith(_UNRECOGNIZED):
        return []
    words = _NEAREST.sub("", text).removeprefix(_UNRECOGNIZED).split()
    first = next((index for index, word in enumerate(words) if _is_option(word)), len(words))
    return words[:first]


def _is_option(word: str) -> bool:
    return word.startswith("-") and not re.match(r"-[\d.]", word)


def _nearest(text: str) -> dict[str, str]:
    """What `with_nearest` added to a line."""
    found = _NEAREST.search(text)
    return dict(pair.split("=", 1) for pair in found["pairs"].split()) if found else {}


def _kind(text: str) -> str:
    known = re.sub(r"^<class '(.*)'>$", r"\1", text)
    if known.startswith("typing.Literal["):
        return f"one of {known.removeprefix('typing.Literal[').rstrip(']')}"
    return _KINDS.get(known, known if known.startswith(("a ", "one ")) else f"a {known}")


def _name(path: Path) -> str:
    """`model.init_args.network.channels` for the parser's `model`, `network.channels`."""
    if len(path) > 1 and path[0] in ("model", "data") and path[1] not in ("init_args", "class_path"):
        path = (path[0], "init_args", *path[1:])
    return ".".join(path)
