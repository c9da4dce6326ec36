"""`ivif models pack`: a checkpoint becomes a released file with its card: what inference needs, and no more."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from ivif.callbacks.run_record import RECORD_KEY
from ivif.commands.errors import UsageError
from ivif.commands.models.card import model_card
from ivif.commands.models.scores import measure
from ivif.commands.parsing.checkpoint_settings import settings_of, stored_configuration
from ivif.commands.train.checkpoints import check_checkpoint
from ivif.contracts.class_paths import class_of, full_path
from ivif.contracts.run_files import ENVIRONMENT, RELEASED
from ivif.contracts.trained_pictures import TRAINED_KEY, TrainedPictures
from ivif.files.archives import load_plain
from ivif.files.errors import plain_name
from ivif.files.inside import OutsideFileError, read_inside
from ivif.files.released import write_released
from ivif.files.whole import write_whole
from ivif.lightning_modules.base import TASK_KEY
from ivif.lightning_modules.detection_sources import load_fusion
from ivif.models.layers.frozen import FROZEN_PARTS_KEY

_KEPT: Final = ("pytorch-lightning_version", TASK_KEY)
_DETECTOR: Final = "part."
_AVERAGE: Final = "average"
_FOLDERS: Final = re.compile(r"(?<![\w./])(?:/[^/\s=]+)*/(?=[^/\s])")
"""Absolute folders in a command: they say where its author keeps files, and nothing about the network."""


def pack(checkpoint: Path, name: str, out: Path, licence: str, limits: str) -> tuple[Path, Path]:
    """Writes `NAME.safetensors` and its card `NAME.md`; those of the same name are replaced.

    Left out are optimisers, networks that only training needs, frozen encoders, and the detector.

    Args:
        checkpoint: Of a run of this suite.
        name: What the network shall be called.
        out: The folder.
        licence: Terms of the data that it was trained on, and so its own.
        limits: Where it fails, for the card.

    Returns:
        Both files.

    Raises:
        UsageError: If the file is no checkpoint, or was packed already.
        ValueError: If the name is no plain one.
        FusionCheckpointError: If it holds no fusion that can be built.
    """
    plain_name(name, "--name")
    check_checkpoint(checkpoint)
    stored = load_plain(checkpoint)
    if "release" in stored:
        raise UsageError(f"--ckpt_path {checkpoint}: this is a released file already. Give the checkpoint of a run.")
    kept = _network(checkpoint, stored)
    release = _provenance(checkpoint, stored, kept) | {"name": name, "licence": licence, "limits": limits}
    with TemporaryDirectory() as folder:
        trial = Path(folder) / f"{name}{RELEASED}"
        write_released(trial, kept, release)
        release["scores"] = measure(load_fusion(trial)[0])
    weights, card = out / f"{name}{RELEASED}", out / f"{name}.md"
    out.mkdir(parents=True, exist_ok=True)
    write_released(weights, kept, release)
    write_whole(card, model_card(release))
    return weights, card


def _network(checkpoint: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the checkpoint that a command of inference reads, with the settings of fusion alone."""
    kind = class_of(full_path(str(stored[TASK_KEY])))
    left = getattr(kind, "training_parts", ())
    settings, hyper_parameters = settings_of(checkpoint, "test"), dict(stored["hyper_parameters"])
    settings.pop("data", None)
    if (option := getattr(kind, "detector_option", None)) and option in hyper_parameters:
        left = (*left, _DETECTOR)
        hyper_parameters |= {option: None, "classes": None}
        settings["model"]["init_args"][option] = None
    state = stored["state_dict"]
    if (part := getattr(kind, "averaged_part", "")) and (hyper_parameters.get(_AVERAGE) or {}).get("decay"):
        state = _averaged(state, part)
        hyper_parameters.pop(_AVERAGE)
        settings["model"]["init_args"].pop(_AVERAGE, None)
    record = {"config": yaml.safe_dump(settings, sort_keys=False)}
    return {
        **{key: stored[key] for key in _KEPT},
        "hyper_parameters": hyper_parameters,
        FROZEN_PARTS_KEY: {part: own for part, own in stored[FROZEN_PARTS_KEY].items() if not part.startswith(left)},
        RECORD_KEY: record,
        TRAINED_KEY: TrainedPictures.read(stored).entry(),
        "state_dict": {key: value for key, value in state.items() if not key.startswith(left)},
    }


def _averaged(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The state of a task that keeps no average, whose part has the averaged weights."""
    others = {key: value for key, value in state.items() if not key.startswith((f"{part}.", f"{_AVERAGE}."))}
    module = f"{_AVERAGE}.module."
    average = {key: value for key, value in state.items() if key.startswith(module)}
    return others | {f"{part}.{key.removeprefix(module)}": value for key, value in average.items()}


def _provenance(checkpoint: Path, stored: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    record = stored.get(RECORD_KEY, {})
    task = str(stored[TASK_KEY]).rpartition(".")[2]
    return {
        "task": task,
        "method": task.removesuffix("Task").lower(),
        "parameters": sum(value.numel() for value in kept["state_dict"].values()),
        "command": _command(checkpoint),
        "commit": record.get("commit", "not recorded"),
        "seed": (stored_configuration(checkpoint) or {}).get("seed_everything"),
        "steps": stored.get("global_step"),
        "frozen": ", ".join(sorted(set(kept[FROZEN_PARTS_KEY].values()))),
        "data": record.get("data", {}),
        "pictures": len(kept[TRAINED_KEY]["pictures"]),
        "complete": kept[TRAINED_KEY]["complete"],
    }


def _command(checkpoint: Path) -> str:
    folder = checkpoint.resolve().parent.parent
    try:
        words = json.loads(read_inside(folder / ENVIRONMENT, folder))["command"][1:]
    except (OSError, ValueError, KeyError, TypeError, OutsideFileError):
        return "not recorded"
    return shlex.join(["ivif", *(_FOLDERS.sub("", str(word)) for word in words)])
