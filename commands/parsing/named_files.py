"""Files and classes that options name: found by bare name, and given to the option that takes them."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import CLASS_OPTIONS, is_file
from ivif.commands.parsing.order import named_class, shown
from ivif.configs import CONFIGS
from ivif.contracts.class_paths import full_path, known_names
from ivif.contracts.plugins import config_folders

FILE_OPTIONS: Final = {
    "--config": (CONFIGS,),
    "--data": (CONFIGS / "data", CONFIGS),
    "--model": (CONFIGS,),
    "--trainer.logger": (CONFIGS / "logger", CONFIGS),
}
"""Options whose value is a file, or a class -> where bare names are looked up."""

HELP_OPTIONS: Final = tuple(f"{option}.help" for option in CLASS_OPTIONS)
"""Options that list those of a class."""


def find_config(option: str, value: str) -> str:
    """The path of a configuration: as given, or by name among the committed ones. Classes come in full.

    Raises:
        UsageError: If it looks like a file and is not there, or is one for another option.
    """
    if is_file(value):
        return value
    as_file = option == "--config" or value.endswith((".yaml", ".yml"))
    if as_file:
        for folder in (*FILE_OPTIONS[option], *config_folders()):
            if (folder / value).is_file():
                return str(folder / value)
    if (meant := option_for(value)) and (as_file or not _is_class(option, value)):
        raise UsageError(f"{option} {value}: it is given as {meant}.")
    if not as_file:
        return full_path(value)
    foreign = "".join(f" or in that of {folder.parent.name}" for folder in config_folders())
    raise UsageError(f"{option} {value}: no such file here, and none in configs/{foreign}.{_nearest(option, value)}")


def class_to_explain(option: str, value: str | None, before: Sequence[str]) -> str:
    """The class whose options `--model.help` or `--data.help` lists: the one named, else that of the files before it.

    Args:
        option: One of `HELP_OPTIONS`.
        value: What stands behind it.
        before: The command and what stands before the option, files apart from their options.

    Raises:
        UsageError: If neither names a class; says which there are.
    """
    part = option.removesuffix(".help")
    name = value if value and not value.startswith("-") else named_class(before, part.removeprefix("--"))
    if name and ("." in name or _is_class(part, name)):
        return full_path(name)
    known = ", ".join(known_names(CLASS_OPTIONS[part]))
    raise UsageError(f"{option}: {f'there is no class {name}' if name else 'name a class'}. Known: {known}.")


def option_for(value: str) -> str | None:
    """How a committed file, or a class that has a name, is given: the option with it; None if it is neither.

    Example:
        >>> option_for("tno"), option_for("MGFusionTask"), option_for("nothing")
        ('--data tno.yaml', '--model MGFusionTask', None)
    """
    for option in CLASS_OPTIONS:
        if _is_class(option, value):
            return f"{option} {value}"
    name = value if value.endswith((".yaml", ".yml")) else f"{value}.yaml"
    for option in ("--config", "--data", "--trainer.logger"):
        if value and is_file(str(FILE_OPTIONS[option][0] / name)):
            return f"{option} {name}"
    return None


def _is_class(option: str, value: str) -> bool:
    return option in CLASS_OPTIONS and full_path(value) in known_names(CLASS_OPTIONS[option]).values()


def _nearest(option: str, value: str) -> str:
    """Up to three configurations for this option, ours or of installed packages, whose names are like the one given."""
    folder, *_ = FILE_OPTIONS[option]
    others = [one[0] for one in FILE_OPTIONS.values() if one[0] not in (folder, CONFIGS)]
    ours = [path for path in folder.rglob("*.yaml") if not any(path.is_relative_to(other) for other in others)]
    ours.sort(key=lambda path: -len(path.parts))  # of two of one name the upper one is meant
    by_name = {path.stem: path.name for place in config_folders() for path in place.glob("*.yaml")}
    by_name |= {path.stem: str(path.relative_to(CONFIGS)) for path in ours}
    close = get_close_matches(Path(value).stem, by_name, n=3, cutoff=0.5)
    named = f" The nearest there: {', '.join(by_name[name] for name in close)}." if close else ""
    return f"{named} See {shown(str(folder))}/ for all of them."
