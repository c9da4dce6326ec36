"""Command lines as people type them, rewritten into what the parser takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivif.commands.parsing.config_files import check_config_file, is_file
from ivif.commands.parsing.named_files import FILE_OPTIONS, HELP_OPTIONS, class_to_explain, find_config
from ivif.commands.parsing.order import in_order
from ivif.commands.parsing.runs import (
    with_checkpoint_of,
    with_files_of_weights,
    with_resumed,
    with_settings_of_checkpoint,
    without_folder,
)
from ivif.contracts.class_paths import full_path

_INSIDE: Final = re.compile(r"--(model|data)\.(?!(class_path|init_args|dict_kwargs|help)\b)")
"""Options of a task or datamodule as they are documented; in files they stand below `init_args`."""
_NESTED: Final = re.compile(r"--(model|data)\.init_args(\.\w+){2,}")
"""Options inside a configuration dataclass of a task or datamodule."""
_NAMES_CLASS: Final = re.compile(r"--([\w.]+\.class_path|trainer\.(callbacks|logger|plugins)\+?)")
"""Options whose value is the name of a class; those of `FILE_OPTIONS` may be one too."""


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

    Args:
        arguments: As typed.

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
        if option in FILE_OPTIONS and value is not None:
            found = find_config(option, value)
            if is_file(found) and option != "--trainer.logger":  # of loggers a file may hold a list
                check_config_file(option, Path(found))
            rewritten += [option, found]
            index += 2
        elif option in HELP_OPTIONS:
            rewritten += [option, class_to_explain(option, value, rewritten)]
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
    rewritten = with_settings_of_checkpoint(
        with_files_of_weights(with_checkpoint_of(run, with_resumed(resume, rewritten)))
    )
    return CommandLine(in_order(rewritten), resume)


def _split_option(argument: str) -> list[str]:
    option, separator, value = argument.partition("=")
    option = "--config" if option == "-c" else _INSIDE.sub(r"--\1.init_args.", option)
    names = option in (*FILE_OPTIONS, *HELP_OPTIONS, "--resume", "--run") or _NAMES_CLASS.fullmatch(option)
    apart = names or (value == "null" and _NESTED.fullmatch(option))
    return [option, value] if separator and apart else [f"{option}{separator}{value}"]


def _null_in_parent(option: str) -> str:
    """`--model.crops.size null` as `--model.crops={"size": null}`.

    jsonargparse 4.53 reads the null of a nested option as the text "None", and refuses it.
    """
    parent, _, key = option.rpartition(".")
    return f'{parent}={{"{key}": null}}'
