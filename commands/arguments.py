"""Command lines as people type them, rewritten into what the parser takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commands.config_files import check_config_file
from commands.errors import UsageError

CONFIGS: Final = Path(__file__).resolve().parent.parent / "configs"
"""The committed configurations."""

_FILE_OPTIONS: Final = {
    "--config": (CONFIGS,),
    "--data": (CONFIGS / "data", CONFIGS),
    "--model": (CONFIGS,),
    "--trainer.logger": (CONFIGS / "logger", CONFIGS),
}
_NESTED: Final = re.compile(r"--(model|data)\.init_args(\.\w+){2,}")
"""Options inside a configuration dataclass of a task or datamodule."""


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
    """Finds configuration files by bare name and turns `--resume RUN_DIR` into its configuration and checkpoint.

    Raises:
        UsageError: If a file or run folder is not there; names what was looked for.
    """
    split = [part for argument in arguments for part in _split_option(argument)]
    rewritten: list[str] = []
    resume: Path | None = None
    index = 0
    while index < len(split):
        option = split[index]
        value = split[index + 1] if index + 1 < len(split) else None
        if option in _FILE_OPTIONS and value is not None:
            found = find_config(option, value)
            if Path(found).is_file() and option != "--trainer.logger":  # of loggers a file may hold a list
                check_config_file(option, Path(found))
            rewritten += [option, found]
            index += 2
        elif option == "--resume":
            if value is None:
                raise UsageError(
                    "--resume needs the folder of a run, for instance runs/mgfusion-unified/20260101-120000-ab12."
                )
            resume = Path(value).resolve() if Path(value).is_symlink() else Path(value)  # `latest` will point elsewhere
            index += 2
        elif value == "null" and _NESTED.fullmatch(option):
            rewritten.append(_null_in_parent(option))
            index += 2
        else:
            rewritten.append(option)
            index += 1
    return CommandLine(_with_resume(rewritten, resume), resume)


def _split_option(argument: str) -> list[str]:
    option, separator, value = argument.partition("=")
    apart = option in (*_FILE_OPTIONS, "--resume") or (value == "null" and _NESTED.fullmatch(option))
    return [option, value] if separator and apart else [argument]


def _null_in_parent(option: str) -> str:
    """`--model.init_args.crops.size null` as `--model.init_args.crops={"size": null}`.

    jsonargparse 4.53 reads the null of a nested option as the text "None", and refuses it.
    """
    parent, _, key = option.rpartition(".")
    return f'{parent}={{"{key}": null}}'


def find_config(option: str, value: str) -> str:
    """The path of a configuration: as given, or by name among the committed ones. Class paths pass through.

    Raises:
        UsageError: If it looks like a file and is not there.
    """
    if Path(value).is_file() or (option != "--config" and not value.endswith((".yaml", ".yml"))):
        return value
    for folder in _FILE_OPTIONS[option]:
        if (folder / value).is_file():
            return str(folder / value)
    known = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml"))
    raise UsageError(f"{option} {value}: no such file here, and none in configs/. Known there: {', '.join(known)}.")


def _with_resume(arguments: list[str], resume: Path | None) -> list[str]:
    if resume is None:
        return arguments
    if not arguments or arguments[0] != "fit":
        raise UsageError("--resume continues training: use it with fit. Other commands take --ckpt_path.")
    config, checkpoint = resume / "config.yaml", resume / "checkpoints" / "last.ckpt"
    for path in (config, checkpoint):
        if not path.is_file():
            raise UsageError(
                f"--resume {resume}: '{path}' is missing. Give the folder of a run that saved a checkpoint."
            )
    return ["fit", "--config", str(config), *arguments[1:], "--ckpt_path", str(checkpoint)]
