"""Names of options: as they are typed, those inside a method or dataset, and which one a wrong name may mean."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args, get_type_hints

from ivif.contracts.class_paths import class_of

_MOST: Final = 3
"""Options that a message names at most."""

_MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    "batch": ("loading.batch_size",),
    "ckpt": ("ckpt_path",),
    "cfg": ("config",),
    "checkpoint_path": ("ckpt_path",),
    "crop_size": ("transforms.crop",),
    "data_dir": ("data.root",),
    "data_root": ("data.root",),
    "dataset": ("data",),
    "device": ("trainer.accelerator", "device"),
    "epochs": ("trainer.max_epochs",),
    "fp16": ("trainer.precision",),
    "gpus": ("trainer.devices",),
    "image_size": ("transforms.resize",),
    "iterations": ("trainer.max_steps",),
    "learning_rate": ("schedule.peak",),
    "load": ("ckpt_path", "init_from"),
    "log_dir": ("runs_dir",),
    "lr": ("schedule.peak",),
    "method": ("model",),
    "name": ("run_name",),
    "out": ("output_dir",),
    "output": ("output_dir", "out"),
    "patch_size": ("transforms.crop",),
    "pretrained": ("ckpt_path", "init_from"),
    "project": ("wandb_project",),
    "save_dir": ("output_dir", "runs_dir"),
    "seed": ("seed_everything",),
    "size": ("transforms.resize",),
    "steps": ("trainer.max_steps",),
    "weights": ("ckpt_path",),
    "workers": ("loading.num_workers",),
}
"""What options are called elsewhere -> the ends of their names here."""


_FILLED_IN: Final = ("data.loading", "data.transforms", "model.classes")
"""Options that are given elsewhere, or follow from others."""

_UNNAMED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def as_typed(text: str) -> str:
    """A text with the options of methods and datasets in their documented form.

    Example:
        >>> as_typed("--model.init_args.clip: no such file")
        '--model.clip: no such file'
    """
    return re.sub(r"\b(model|data)\.init_args\.", r"\1.", text)


def nearest(key: str, options: Collection[str]) -> list[str]:
    """Up to three options that a wrong name may mean, the likeliest first.

    Args:
        key: The name without dashes.
        options: The names that there are.

    Example:
        >>> nearest("max_steps", ["trainer.max_steps", "trainer.max_epochs"])
        ['trainer.max_steps']
    """
    ends = [end for name in (key.replace("-", "_").lower(),) for end in (*_MEANT.get(name, ()), name)]
    found = [option for end in ends for option in options if f".{option}".endswith(f".{end}")]
    if not found:
        found = get_close_matches(key, options, n=1, cutoff=0.8)
    if not found and "." not in key:
        last = {option.rpartition(".")[2]: option for option in reversed(list(options))}
        found = [last[name] for name in get_close_matches(key, last, n=1, cutoff=0.8)]
    return list(dict.fromkeys(found))[:_MOST]


def options_inside(section: str, class_path: str) -> dict[str, Any]:
    """The options of a method or dataset by their names as they are typed, with their types.

    Args:
        section: `model` or `data`.
        class_path: By its full path; a class that cannot be had has none.
    """
    try:
        found = dict(_below(section, class_of(class_path)))
    except (AttributeError, ImportError, NameError, ValueError):
        return {}
    return {name: hint for name, hint in found.items() if not name.startswith(_FILLED_IN)}


def _below(name: str, kind: type[Any]) -> Iterator[tuple[str, Any]]:
    for key, hint in constructor_types(kind).items():
        yield f"{name}.{key}", hint
        for nested in get_args(hint) or (hint,):
            if isinstance(nested, type) and is_dataclass(nested):
                yield from _below(f"{name}.{key}", nested)


def constructor_types(kind: type[Any]) -> dict[str, Any]:
    """Types of the constructor's arguments, those that it hands on to its parents among them."""
    hints: dict[str, Any] = {}
    for own in (vars(parent)["__init__"] for parent in kind.__mro__ if "__init__" in vars(parent)):
        if not inspect.isfunction(own):
            break
        named = [one for one in inspect.signature(own).parameters.values() if one.kind not in _UNNAMED]
        types = get_type_hints(own)
        hints = {one.name: types[one.name] for one in named if one.name in types} | hints
        if not any(one.kind == inspect.Parameter.VAR_KEYWORD for one in inspect.signature(own).parameters.values()):
            break
    return hints
