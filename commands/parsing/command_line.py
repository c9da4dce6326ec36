"""Command lines as people type them, rewritten into what the parser takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import check_config_file, is_file
from ivif.commands.parsing.order import in_order, shown
from ivif.commands.parsing.runs import with_checkpoint_of, with_resumed, with_settings_of_checkpoint, without_folder
from ivif.configs import CONFIGS
from ivif.contracts.class_paths import full_path
from ivif.contracts.plugins import config_folders

_FILE_OPTIONS: Final = {
    "--config": (CONFIGS,),
    "--data": (CONFIGS / "data", CONFIGS),
    "--model": (CONFIGS,),
    "--trainer.logger": (CONFIGS / "logger", CONFIGS),
}
_INSIDE: Final = re.compile(r"--(model|data)\.(?!(class_path|init_args|dict_kwargs|help)\b)")
"""Options of a task or datamodule as they are documented; in files they stand below `init_args`."""
_NESTED: Final = re.compile(r"--(model|data)\.init_args(\.\w+){2,}")
"""Options inside a configuration dataclass of a task or datamodule."""
_NAMES_CLASS: Final = re.compile(r"--([\w.]+\.class_path|(model|data)\.help|trainer\.(callbacks|logger|plugins)\+?)")
"""Options whose value is the name of a class; those of `_FILE_OPTIONS` may be one too."""


@dataclass(frozen=True)
class CommandLine:
    """A rewritten command line.

    Args:
        arguments: What the parser gets.
        resume: The run folder that `--resume` names, if any.
    """

    arguments: list[str]
    resume: Path | None = None


def rewrite(arguments: Sequence[str]) -> CommandLine:
    """Finds configuration files by bare name, and those of runs: of `--resume` and `--run`, and of a checkpoint.

    Files come before options, whatever the order in which they were typed (`ivif.commands.parsing.order`). Options of
    a method or dataset get their place in the configuration: `--model.clip` is `--model.init_args.clip`.

    Raises:
        UsageError: If a file or run folder is not there; names what was looked for.
    """
    split = [part for argument in arguments for part in _split_option(argument)]
    split, run = without_folder(split, "--run")
    split, resume = without_folder(split, "--resume")
    rewritten: list[str] = []
    index = 0
    while index < len(split):
        option = split[index]
        value = split[index + 1] if index + 1 < len(split) else None
        if option in _FILE_OPTIONS and value is not None:
            found = find_config(option, value)
            if is_file(found) and option != "--trainer.logger":  # of loggers a file may hold a list
                check_config_file(option, Path(found))
            rewritten += [option, found]
            index += 2
        elif value is not None and _NAMES_CLASS.fullmatch(option):
            rewritten += [option, full_path(value)]
            index += 2
        elif value == "null" and _NESTED.fullmatch(option):
            rewritten.append(_null_in_parent(option))
            index += 2
        else:
            rewritten.append(option)
            index += 1
    rewritten = with_settings_of_checkpoint(with_checkpoint_of(run, with_resumed(resume, rewritten)))
    return CommandLine(in_order(rewritten), resume)


def _split_option(argument: str) -> list[str]:
    option, separator, value = argument.partition("=")
    option = "--config" if option == "-c" else _INSIDE.sub(r"--\1.init_args.", option)
    names = option in (*_FILE_OPTIONS, "--resume", "--run") or _NAMES_CLASS.fullmatch(option)
    apart = names or (value == "null" and _NESTED.fullmatch(option))
    return [option, value] if separator and apart else [f"{option}{separator}{value}"]


def _null_in_parent(option: str) -> str:
    """`--model.crops.size null` as `--model.crops={"size": null}`.

    jsonargparse 4.53 reads the null of a nested option as the text "None", and refuses it.
    """
    parent, _, key = option.rpartition(".")
    return f'{parent}={{"{key}": null}}'


def find_config(option: str, value: str) -> str:
    """The path of a configuration: as given, or by name among the committed ones. Classes come in full.

    Raises:
        UsageError: If it looks like a file and is not there.
    """
    if is_file(value):
        return value
    if option != "--config" and not value.endswith((".yaml", ".yml")):
        return full_path(value)
    for folder in (*_FILE_OPTIONS[option], *config_folders()):
        if (folder / value).is_file():
            return str(folder / value)
    foreign = "".join(f" or in that of {folder.parent.name}" for folder in config_folders())
    raise UsageError(f"{option} {value}: no such file here, and none in configs/{foreign}.{_nearest(option, value)}")


def _nearest(option: str, value: str) -> str:
    """Up to three configurations for this option, ours or of installed packages, whose names are like the one given."""
    folder, *_ = _FILE_OPTIONS[option]
    others = [one[0] for one in _FILE_OPTIONS.values() if one[0] not in (folder, CONFIGS)]
    ours = [path for path in folder.rglob("*.yaml") if not any(path.is_relative_to(other) for other in others)]
    ours.sort(key=lambda path: -len(path.parts))  # of two of one name the upper one is meant
    by_name = {path.stem: path.name for place in config_folders() for path in place.glob("*.yaml")}
    by_name |= {path.stem: str(path.relative_to(CONFIGS)) for path in ours}
    close = get_close_matches(Path(value).stem, by_name, n=3, cutoff=0.5)
    named = f" The nearest there: {', '.join(by_name[name] for name in close)}." if close else ""
    return f"{named} See {shown(str(folder))}/ for all of them."
