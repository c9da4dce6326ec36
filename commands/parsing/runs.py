"""What a command line takes from an earlier run: `--resume` and `--run`, and the settings of a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from ivif.commands.errors import UsageError
from ivif.commands.parsing.checkpoint_settings import settings_of
from ivif.commands.parsing.config_files import check_config_file
from ivif.commands.parsing.order import named_class
from ivif.contracts.run_files import CONFIG, LAST
from ivif.weights import find_weights

_USES_WEIGHTS: Final = ("validate", "test", "predict")
"""Commands that take trained weights, and the settings that these were trained with."""

_WEIGHTS: Final = frozenset({"--ckpt_path", "--init_from", "--ckpt", "--model.init_args.source.checkpoint"})
"""Options whose value is a checkpoint, or a name of one."""

_NO_FILES: Final = ("", "null", "best", "last", "hpc")
"""Their values that name none."""


def without_folder(words: Sequence[str], option: str) -> tuple[list[str], Path | None]:
    """A command line without an option that names the folder of a run, and that folder.

    A link such as `latest` is followed at once: it will point elsewhere.

    Raises:
        UsageError: If the option has no value.
    """
    if option not in words:
        return list(words), None
    index = len(words) - 1 - list(reversed(words)).index(option)
    if index + 1 == len(words):
        raise UsageError(
            f"{option} needs the folder of a run, for instance runs/mgfusion-unified/20260101-120000-ab12."
        )
    folder = Path(words[index + 1])
    return [*words[:index], *words[index + 2 :]], folder.resolve() if folder.is_symlink() else folder


def with_resumed(folder: Path | None, arguments: list[str]) -> list[str]:
    """`fit --resume FOLDER` as the configuration and the last checkpoint of the run.

    Raises:
        UsageError: If the command is another, or one of the two is missing.
    """
    if folder is None:
        return arguments
    if not arguments or arguments[0] != "fit":
        raise UsageError("--resume continues training: use it with fit. validate, test and predict take --run.")
    for path in (folder / CONFIG, folder / LAST):
        if not path.is_file():
            raise UsageError(
                f"--resume {folder}: '{path}' is missing. Give the folder of a run that saved a checkpoint."
            )
    check_config_file("--resume", folder / CONFIG)
    return ["fit", "--config", str(folder / CONFIG), *arguments[1:], "--ckpt_path", str(folder / LAST)]


def with_checkpoint_of(folder: Path | None, arguments: list[str]) -> list[str]:
    """`--run FOLDER` as the last checkpoint of the run.

    Raises:
        UsageError: If the command uses no weights, another checkpoint is named too, or there is none.
    """
    if folder is None:
        return arguments
    if not arguments or arguments[0] not in _USES_WEIGHTS:
        raise UsageError("--run is for validate, test and predict. fit goes on with --resume RUN_FOLDER.")
    if (checkpoint := _checkpoint(arguments)) is not None:
        raise UsageError(f"--run {folder} and --ckpt_path {checkpoint}: give one of them, a file brings its settings.")
    if not (folder / LAST).is_file():
        raise UsageError(f"--run {folder}: '{folder / LAST}' is missing. Give the folder of a run that saved one.")
    return [*arguments, "--ckpt_path", str(folder / LAST)]


def with_files_of_weights(arguments: Sequence[str]) -> list[str]:
    """A command line whose trained weights are files: names, run folders and repositories of the hub are looked up.

    Raises:
        UnknownWeightsError: If there is no such name or repository.
    """
    found: list[str] = []
    option = ""
    options = _WEIGHTS if arguments[:1] == ["score"] else _WEIGHTS - {"--ckpt"}  # which is no option of the others
    for word in arguments:
        if word.startswith("--"):
            option, separator, value = word.partition("=")
            known = separator and option in options and value not in _NO_FILES
            found.append(f"{option}={find_weights(value, fetch=True)}" if known else word)
        elif option in options and word not in _NO_FILES:
            found.append(str(find_weights(word, fetch=True)))
        else:
            found.append(word)
    return found


def with_settings_of_checkpoint(arguments: list[str]) -> list[str]:
    """A command that uses a checkpoint, after the settings that this was trained with.

    They are taken where no file and no option names a method; its data, where none names data either. As the first
    configuration of all they give way to whatever else is given.

    Raises:
        UsageError: If the checkpoint brings none.
    """
    checkpoint = _checkpoint(arguments)
    if checkpoint is None or arguments[0] not in _USES_WEIGHTS or named_class(arguments, "model"):
        return arguments
    settings = settings_of(Path(checkpoint), arguments[0])
    if named_class(arguments, "data"):
        settings.pop("data", None)
    return [arguments[0], "--config", yaml.safe_dump(settings), *arguments[1:]]


def _checkpoint(arguments: Sequence[str]) -> str | None:
    """The value of `--ckpt_path`."""
    found = None
    for index, word in enumerate(arguments):
        option, separator, value = word.partition("=")
        if option == "--ckpt_path":
            found = value if separator else next(iter(arguments[index + 1 : index + 2]), None)
    return None if found in ("", "null") else found
