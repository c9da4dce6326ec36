"""What a file may ask for, and only a command line or the environment can allow.

Configurations travel with papers and run folders: what they say about a dataset or a network is followed, but not where
they switch uploads on, vouch for code, or have something written elsewhere on the machine.
"""

import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from jsonargparse import Namespace

from ivif.callbacks.wandb_run import Mode
from ivif.commands.errors import UsageError
from ivif.commands.parsing.config_files import is_file
from ivif.files.trusted_archives import trust_archive

_CHOSEN_BY_US: Final = "default_root_dir"
"""An argument of the trainer that is the run folder, whatever a file says."""

_FILLED_IN: Final = "/local_nvme"
"""Lightning's default for DeepSpeed, which the parser fills in; nothing is written there unless it is asked for."""


def settle_consents(arguments: Sequence[str], config: Namespace) -> None:
    """Takes out of a configuration what only the command line may ask for, and notes what the command line trusts.

    Args:
        arguments: The command line.
        config: The configuration of its subcommand; changed in place.

    Raises:
        UsageError: If a file has the trainer write outside of the working folder, send checkpoints away, or call a
            function of this suite or of Lightning.
    """
    typed = list(_typed(arguments))
    if config.get("wandb") == "online" and [value for option, value in typed if option == "--wandb"][-1:] != ["online"]:
        config.wandb = mode_of_a_file("online")
    if any(_vouches(option, value) for option, value in typed):
        for weights in _trusting(config.get("model")):
            trust_archive(Path(weights))
    _refuse_places(config.get("trainer"), [value for option, value in typed if option.startswith("--trainer")])


def mode_of_a_file(mode: Mode | None) -> Mode | None:
    """W&B's mode where a file asks for it: online only if the environment says so too."""
    if mode != "online" or os.environ.get("WANDB_MODE") == "online":
        return mode
    print(
        "W&B: the run stays offline. A file cannot switch uploads on: give --wandb online, or set WANDB_MODE=online.",
        file=sys.stderr,
    )
    return "offline"


def _typed(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every option of a command line with its value."""
    for index, word in enumerate(arguments):
        option, separator, value = word.partition("=")
        if option.startswith("--"):
            yield option, value if separator else next(iter(arguments[index + 1 : index + 2]), "")


def _vouches(option: str, value: str) -> bool:
    given = "trust_archive" in option or ("trust_archive" in value and not is_file(value))
    return option.startswith("--model.") and given


def _trusting(part: Any) -> Iterator[str]:
    """Weights files of encoders whose configuration trusts them."""
    own = _mapping(part)
    if own.get("trust_archive") is True and own.get("weights"):
        yield str(own["weights"])
    for value in own.values():
        yield from _trusting(value)


def _refuse_places(trainer: Any, typed: Sequence[str]) -> None:
    if _mapping(trainer).get("model_registry") and not typed:
        raise UsageError("trainer.model_registry sends checkpoints away: give it on the command line, not in a file.")
    for option, given in _leaves(trainer, "trainer"):
        if inspect.isroutine(given) and str(given.__module__).partition(".")[0] in ("ivif", "lightning"):
            raise UsageError(
                f"{option}: '{given.__module__}.{given.__qualname__}' is a function that was not made to be called by "
                f"a trainer. Leave it out, or name one of a package of your own."
            )
        value = str(given) if isinstance(given, str | os.PathLike) and given != _FILLED_IN else ""
        outside = "://" in value or value.startswith(("/", "~")) or ".." in PurePath(value).parts
        if outside and not any(value in word for word in typed):
            raise UsageError(
                f"{option}: a file may not have '{value}' written or read, because it lies outside of the working "
                f"folder. If you mean it, give it on the command line: --{option}={value}"
            )


def _leaves(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every single value of a configuration, with its option."""
    if isinstance(part, list | tuple):
        for value in part:
            yield from _leaves(value, path)
    elif isinstance(part, Namespace | Mapping):
        for key, value in _mapping(part).items():
            if key != _CHOSEN_BY_US:
                yield from _leaves(value, f"{path}.{key}")
    else:
        yield path, part


def _mapping(part: Any) -> Mapping[str, Any]:
    if isinstance(part, Namespace):
        return vars(part)
    return part if isinstance(part, Mapping) else {}
