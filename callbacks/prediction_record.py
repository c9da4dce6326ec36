"""Which command made which pictures of an output folder, so that none is taken for another's."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final

from ivif.callbacks.detection_files import DRAWN_FOLDER
from ivif.files.inside import read_inside

RECORD: Final = "predictions.json"
"""File in the output folder that says what made the pictures there."""

_COMMANDS: Final = "commands"
_PICTURES: Final = "pictures"
_CLASSES: Final = "classes"

Command = dict[str, Any]
"""What decides the pictures of a command, the names of its classes, and its pictures, those to come among them."""


def claim_pictures(
    folder: Path,
    made_by: Mapping[str, str],
    pictures: Iterable[Path],
    classes: Sequence[str] = (),
    noted: Set[str] = frozenset(),
) -> str:
    """The record of a folder into which one more command writes its pictures, or goes on writing them.

    Args:
        folder: The folder; it may be missing. Nothing is written.
        made_by: What decides the pictures.
        pictures: Where all pictures of the command go.
        classes: What it detects, in the order of its numbers; they stand for all detections in the folder.
        noted: Names of pictures that another record says it has made: that of a shard.

    Returns:
        The content of the record.

    Raises:
        FileExistsError: If one of the pictures is another command's, or nobody knows whose it is; if the folder has
            detections of other classes; or if its record is damaged.
        OutsideFileError: If the record is a link out of the folder.
    """
    names = sorted({path.relative_to(folder).as_posix() for path in pictures})
    commands = _commands(folder)
    own: Command = next((one for one in commands if _made_by(one) == dict(made_by)), {**made_by, _PICTURES: []})
    for other in (one for one in commands if one is not own):
        _refuse_others(folder, other, names, made_by)
        _refuse_other_classes(folder, other, made_by, classes)
    known = noted | set(own[_PICTURES])
    if found := next((name for name in names if name not in known and (folder / name).exists()), None):
        raise FileExistsError(
            f"'{folder / found}' is there, but no '{folder / RECORD}' says that predict made it. It is neither taken "
            f"for a result nor written over: choose another --output_dir, or move it away."
        )
    own |= {_CLASSES: list(classes)} if classes else {}
    own[_PICTURES] = sorted({*own[_PICTURES], *names})
    kept = commands if any(one is own for one in commands) else [*commands, own]
    return json.dumps({_COMMANDS: kept}, indent=1) + "\n"


def differing(there: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which of the settings that decide pictures are others now than there, each with both values."""
    before, after = dict(_settings(there)), dict(_settings(now))
    return ", ".join(
        f"{key.replace('.init_args', '')} {before.get(key)!r} there, {after.get(key)!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def noted_weights(folder: Path) -> set[str]:
    """The weights of all commands that wrote into a folder.

    Raises:
        FileExistsError: If its record is damaged.
        OutsideFileError: If the record is a link out of the folder.
    """
    return {str(one.get("weights")) for one in _commands(folder)}


def _refuse_others(folder: Path, other: Command, names: Sequence[str], made_by: Mapping[str, str]) -> None:
    theirs = set(other[_PICTURES])
    shared = [name for name in names if name in theirs]
    if not shared:
        return
    differences = differing(_made_by(other), made_by)
    raise FileExistsError(
        f"'{folder}' holds pictures made otherwise ({differences}): {len(shared)} of the {len(names)} that this "
        f"command makes, such as '{shared[0]}'. Choose another --output_dir, or remove the folder."
    )


def _refuse_other_classes(folder: Path, other: Command, made_by: Mapping[str, str], classes: Sequence[str]) -> None:
    """Detections of all pictures are one list, and name their classes by numbers."""
    theirs = other.get(_CLASSES)
    if theirs is None:  # noted since commands share folders; the weights say it too
        same = "boxes" not in other or other.get("weights") == made_by.get("weights")
    else:
        same = list(theirs) == list(classes)
    if classes and not same:
        there = ", ".join(map(str, theirs)) if theirs else "other weights"
        raise FileExistsError(
            f"'{folder}' holds detections of {there}, this command detects {', '.join(classes)}, and one list of "
            f"detections has one list of classes. Choose another --output_dir."
        )


def _commands(folder: Path) -> list[Command]:
    """What the record says; one of before commands shared folders stands for every picture that is there."""
    path = folder / RECORD
    if not path.is_file():
        return []
    content = _read(path)
    if _COMMANDS not in content:
        return [content | {_PICTURES: list(_present(folder))}]
    commands = content[_COMMANDS]
    if not isinstance(commands, list) or not all(map(_is_command, commands)):
        raise _damaged(path, "it lists no pictures of commands")
    return commands


def _is_command(one: Any) -> bool:
    if not isinstance(one, dict) or _PICTURES not in one:
        return False
    lists = [one[_PICTURES], one.get(_CLASSES, [])]
    return all(isinstance(found, list) and all(isinstance(name, str) for name in found) for found in lists)


def _read(path: Path) -> Command:
    try:
        content = json.loads(read_inside(path, path.parent))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it is no record of predictions")
    return content


def _damaged(path: Path, reason: str) -> FileExistsError:
    return FileExistsError(f"'{path}' is damaged ({reason}). Choose another --output_dir, or remove it.")


def _present(folder: Path) -> Iterator[str]:
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*.png")))
    return (name.as_posix() for name in names if DRAWN_FOLDER not in name.parts[:-1])


def _made_by(command: Command) -> dict[str, str]:
    return {key: value for key, value in command.items() if key not in (_PICTURES, _CLASSES)}


def _settings(made_by: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What decided pictures, each setting of the data by itself."""
    for key, value in made_by.items():
        reader, _, settings = str(value).partition(" ")
        try:
            parts = json.loads(settings) if key == "data" else None
        except ValueError:
            parts = None
        if isinstance(parts, dict):
            yield key, reader
            yield from _leaves(key, parts)
        else:
            yield key, value


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(f"{key}.{name}", part)
    else:
        yield key, json.dumps(value)
