"""The settings that a checkpoint brings along, so that a command that uses it needs no configuration.

A checkpoint holds the configuration of its run. What belongs to the method is taken of it; the run and its machine
(devices, precision, batch sizes, loggers, names, folders, lengths) are those of the present command.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.errors import UsageError
from ivif.contracts.class_paths import class_of, full_path
from ivif.contracts.run_files import CONFIG, LAST
from ivif.files.inside import OutsideFileError, read_inside
from ivif.files.plain_yaml import LARGEST_TEXT, PlainYamlError, parse_plain

_TRUST: Final = "trust_archive"
"""An option by which the command line vouches for code in weights; nothing that is stored can."""


def settings_of(checkpoint: Path, command: str) -> dict[str, Any]:
    """The settings of the method, and the data, that a checkpoint was trained with.

    Args:
        checkpoint: `--ckpt_path`.
        command: What is to be done with it.

    Returns:
        `model` and `data`, where there are any `transforms.resize`, `transforms.test_resize`
        and `evaluator.convention`.

    Raises:
        UsageError: If the file is no checkpoint, or neither it nor its run folder holds a configuration.
    """
    stored = stored_configuration(checkpoint)
    if stored is None:
        from ivif.commands.train.checkpoints import check_weights  # with torch

        check_weights(command, "", str(checkpoint), random_too=True)
        raise UsageError(
            f"--ckpt_path {checkpoint}: it holds no configuration of its own, and does not lie in `checkpoints/` of a "
            f"run folder with a {CONFIG}. Say how it was trained: --config METHOD.yaml and the options of its training."
        )
    return _of_the_method(stored)


def stored_configuration(checkpoint: Path) -> dict[str, Any] | None:
    """The whole configuration of a checkpoint's run: its own, else that of the run folder that it lies in.

    Returns:
        None where there is none that names a method, or the file cannot be read: other checks say why.
    """
    for text in (_of_the_file(checkpoint), _of_the_folder(checkpoint)):
        try:
            content = parse_plain(text)
        except (PlainYamlError, yaml.YAMLError):
            continue
        model = _mapping(_mapping(content).get("model"))
        if isinstance(model.get("class_path"), str) and isinstance(model.get("init_args") or {}, dict):
            return _mapping(content)
    return None


def _of_the_file(checkpoint: Path) -> str:
    from ivif.callbacks.run_record import RECORD_KEY
    from ivif.files.archives import load_plain  # with torch

    try:
        content = load_plain(checkpoint)
        return str(_mapping(_mapping(content).get(RECORD_KEY)).get("config", ""))
    except Exception:  # torch raises a dozen kinds for damaged files
        return ""


def _of_the_folder(checkpoint: Path) -> str:
    folder = checkpoint.resolve().parent
    if folder.name != LAST.parent.name:
        return ""
    try:
        return read_inside(folder.parent / CONFIG, folder.parent, LARGEST_TEXT).decode()
    except (OSError, ValueError, OutsideFileError):
        return ""


def _of_the_method(stored: Mapping[str, Any]) -> dict[str, Any]:
    model = _untrusted(stored["model"])
    for option in _part_files(model["class_path"]):
        *sections, name = option.split(".")
        part = _mapping(model.get("init_args"))
        for section in sections:
            part = _mapping(part.get(section))
        if name in part:
            part[name] = None
    found = {"model": model, "data": stored.get("data")}
    for section, option in (("transforms", "resize"), ("transforms", "test_resize"), ("evaluator", "convention")):
        if (value := _mapping(stored.get(section)).get(option)) is not None:
            found.setdefault(section, {})[option] = value
    return {section: value for section, value in found.items() if value is not None}


def _part_files(class_path: str) -> Iterable[str]:
    """Options of a task that name files of which the checkpoint has the content."""
    try:
        return getattr(class_of(full_path(class_path)), "part_files", {}).values()
    except (AttributeError, ModuleNotFoundError) as error:
        raise UsageError(
            f"The checkpoint is one of '{class_path}', which this version of ivif does not have."
        ) from error


def _untrusted(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _untrusted(value) for key, value in part.items() if key != _TRUST}
    return [_untrusted(value) for value in part] if isinstance(part, list) else part


def _mapping(part: Any) -> dict[str, Any]:
    return part if isinstance(part, dict) else {}
