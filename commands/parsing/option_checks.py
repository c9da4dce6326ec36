"""Values that the parser takes and that would fail, or do something else, much later."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import PurePath
from typing import Any, Final, get_args

from jsonargparse import Namespace

from ivif.commands.errors import UsageError
from ivif.commands.parsing.option_names import as_typed, constructor_types
from ivif.contracts.class_paths import class_of

_LEAST: Final = {
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 0,
    "images.height": 8,
    "images.images_per_dataset": 0,
    "seed_everything": 0,
}
"""The least that options of Lightning's and of our callbacks may be."""


def refuse_numbers(config: Mapping[str, Any]) -> None:
    """Refuses numbers below the least that an option may be.

    Raises:
        UsageError: Names option and value.
    """
    for option, least in _LEAST.items():
        value = config.get(option)
        if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
            raise UsageError(f"--{option} is {value}; it must be at least {least}.")


def refuse_linked_options(arguments: Sequence[str]) -> None:
    """Refuses options that others fill in.

    Raises:
        UsageError: Names the option, and what to give instead.
    """
    for argument in arguments:
        for name in ("loading", "transforms"):
            if argument.startswith(f"--data.init_args.{name}"):
                raise UsageError(
                    f"{as_typed(argument)}: set it as --{name}... (it is given beside the dataset, not inside it)."
                )
        if argument.startswith("--model.init_args.classes"):
            raise UsageError(
                f"{as_typed(argument)}: the classes are those of the data, or of the checkpoint; leave it out."
            )


def refuse_nulls(config: Namespace, kinds: Mapping[str, type[Any]]) -> None:
    """Refuses null where an option needs a value: a key with nothing behind it, which the parser lets pass.

    Args:
        config: The configuration of a subcommand.
        kinds: The class behind each section that has no `class_path`.

    Raises:
        UsageError: Names the options.
    """
    found = [name for section, kind in kinds.items() for name in _nulls(kind, config.get(section), section)]
    for section in ("model", "data"):
        built = config.get(section)
        if isinstance(built, Namespace):
            found += _nulls(class_of(built.class_path), built.get("init_args"), section)
    if found:
        raise UsageError(
            f"{', '.join(found)}: null, or nothing, where a value is needed. Give it one, or leave the line out to "
            f"keep the default."
        )


def plain_run_name(name: str) -> str:
    """A run's name, which becomes a folder under the folder of runs.

    Raises:
        UsageError: If the folder would lie elsewhere, or its name could not be typed.
    """
    parts = PurePath(name).parts
    if not parts or ".." in parts or PurePath(name).is_absolute() or not name.isprintable():
        raise UsageError(
            f"--run_name {name!r}: it must name a folder under --runs_dir, with neither '..' nor a leading '/'. For "
            f"another place set --runs_dir."
        )
    return name


def _nulls(kind: type[Any], values: Any, path: str) -> Iterator[str]:
    if not isinstance(values, Namespace):
        return
    hints = constructor_types(kind)
    for key, value in vars(values).items():
        accepted = get_args(hints.get(key)) or (hints.get(key),)
        if value is None and key in hints and hints[key] is not Any and not {None, type(None), Any} & set(accepted):
            yield f"{path}.{key}"
        for nested in accepted:
            if isinstance(nested, type) and is_dataclass(nested):
                yield from _nulls(nested, value, f"{path}.{key}")
