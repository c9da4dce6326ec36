"""What a command does otherwise than the run that its checkpoint comes from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from ivif.commands.parsing.checkpoint_settings import stored_configuration
from ivif.commands.train.checkpoints import CHECKPOINT_WORDS
from ivif.commands.train.predictions import model_settings
from ivif.contracts.class_paths import class_of


def say_differences(command: str, config: Namespace) -> None:
    """Says in one line which settings of the method, and what texts, are other ones than in the checkpoint's training.

    Args:
        command: Lightning's.
        config: Its whole configuration.
    """
    checkpoint = config.get("ckpt_path")
    if command == "fit" or not checkpoint or checkpoint in CHECKPOINT_WORDS:
        return
    stored = stored_configuration(Path(checkpoint))
    if stored is None:
        return
    present = {name: config[name].as_dict() for name in ("model", "data", "transforms", "evaluator")}
    now, then = (dict(_settings(command, each, config.model.class_path)) for each in (present, stored))
    differing = [f"{key} {now[key]} (there {then[key]})" for key in now if key in then and now[key] != then[key]]
    if differing:
        rank_zero_info(f"Other settings than in the run of the checkpoint: {', '.join(differing)}.")


def _settings(command: str, config: Mapping[str, Any], task: str) -> Iterator[tuple[str, str]]:
    for name, value in model_settings(class_of(task), config["model"], trained=True).items():
        yield name.replace(".init_args.", "."), value
    if isinstance(data := config.get("data"), Mapping):
        yield "data.prompts.source", json.dumps(_prompt_source(data))
    frames = {"validate": "resize", "test": "test_resize"}
    scored = (("transforms", frames[command]), ("evaluator", "convention")) if command in frames else ()
    for section, option in scored:  # predict keeps the pictures' own sizes, and scores nothing
        if option in (values := config.get(section) or {}):
            yield f"{section}.{option}", json.dumps(values[option])


def _prompt_source(data: Mapping[str, Any]) -> str:
    part: Any = data
    for key in ("init_args", "prompts", "source"):
        part = part.get(key) if isinstance(part, Mapping) else None
    return str(part or "none")
