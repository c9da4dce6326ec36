"""Released files in the layout of Hugging Face's hub, and their cards."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ivif.commands.errors import UsageError
from ivif.commands.models.card import model_card
from ivif.commands.program import program
from ivif.contracts.run_files import RELEASED
from ivif.files.released import read_released
from ivif.files.text_output import terminal
from ivif.files.whole import write_whole
from ivif.weights.find import HUB
from ivif.weights.hub import MODEL_FILE, push_folder


def read(weights: Path) -> dict[str, Any]:
    """A released file.

    Raises:
        UsageError: If it is missing, damaged or another kind of file.
    """
    if weights.suffix != RELEASED:
        raise UsageError(f"{weights}: this is no released file. Make one of a checkpoint: {program()} models pack")
    if not weights.is_file():
        raise UsageError(f"{weights}: there is no such file.")
    try:
        return read_released(weights)
    except Exception as error:  # safetensors raises several kinds
        raise UsageError(f"{weights}: the file is damaged or no released one ({error}). Fetch it again.") from error


def show(weights: Path) -> int:
    """Prints the card; returns the exit code, 0."""
    print(terminal(_card(weights)))
    return 0


def push(weights: Path, target: str) -> int:
    """Writes the files of a repository to the hub or a folder; returns the exit code, 0.

    Raises:
        UsageError: If the file is no released one.
        HubError: If the hub cannot be reached, or refuses.
    """
    if not target.startswith(HUB):
        print(_write(weights, Path(target)))
        return 0
    with TemporaryDirectory() as folder:
        print(push_folder(_write(weights, Path(folder)), target.removeprefix(HUB)))
    return 0


def _write(weights: Path, folder: Path) -> Path:
    content = read(weights)
    settings = {key: content[key] for key in ("task", "hyper_parameters")}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "README.md", _card(weights))
    write_whole(folder / "config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
    write_whole(folder / MODEL_FILE, weights.read_bytes())
    return folder


def _card(weights: Path) -> str:
    release = read(weights)["release"]
    try:
        return model_card(release)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{weights}: its header lacks what a card says ({error}).") from error
