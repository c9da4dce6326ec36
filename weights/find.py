"""What may stand where a checkpoint is asked for, as a file: a name, a file, the folder of a run, a repository."""

from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ivif.contracts.run_files import LAST, RELEASED
from ivif.files.errors import UserError
from ivif.files.names import printable

FOLDER: Final = Path(__file__).resolve().parent
"""Where the released files lie, each with its model card."""

HUB: Final = "hf://"

_PREFERRED: Final = "mgfusion-light"


class UnknownWeightsError(UserError, ValueError):
    """A name, or a repository, behind which there are no weights."""


def released_names() -> list[str]:
    """The names of the networks that come with the suite."""
    return sorted(path.stem for path in FOLDER.glob(f"*{RELEASED}"))


def preferred_name() -> str:
    """The network that fuses where none is named.

    Raises:
        UnknownWeightsError: If none comes with this installation.
    """
    names = released_names()
    if not names:
        raise UnknownWeightsError(
            "No trained networks come with this installation. Give one: --model CKPT or RUN_FOLDER."
        )
    return _PREFERRED if _PREFERRED in names else names[0]


def find_weights(name: str | Path, fetch: bool = False) -> Path:
    """The local file of trained weights.

    Args:
        name: A name of `released_names`, a checkpoint, a released file, the folder of a run (its last checkpoint), or
            `hf://owner/name` (`model.safetensors` of that repository of Hugging Face's hub). A file or folder wins
            over a name.
        fetch: Whether the hub may be asked: only for what a user typed, never for what a file says.

    Returns:
        The file. A path that names nothing comes back as it is: who reads it says what is missing.

    Raises:
        UnknownWeightsError: If there is no such name or repository, or the hub cannot be reached.
    """
    text = str(name)
    if text.startswith(HUB):
        if not fetch:
            raise UnknownWeightsError(f"{printable(text)}: a file may name no address. Type it on the command line.")
        from ivif.weights.hub import fetch_weights

        return fetch_weights(text.removeprefix(HUB))
    path = Path(text)
    if path.is_dir() and (path / LAST).is_file():
        return path / LAST
    if path.exists() or path.suffix or path.name != text:
        return path
    names = released_names()
    if text in names:
        return FOLDER / f"{text}{RELEASED}"
    close = get_close_matches(text, names, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise UnknownWeightsError(
        f"{printable(text)}: there is no file, run folder or model of this name.{meant} "
        f"Models are {', '.join(names) or 'none yet'} (`ivif models list`)."
    )
