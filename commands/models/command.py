"""`ivif models ...`: lists trained networks, shows their cards, makes released files and puts them on the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.contracts.run_files import RELEASED
from ivif.weights import find_weights, released_names
from ivif.weights.find import FOLDER, HUB

PACK: Final = (
    "Makes a released file of a checkpoint, NAME.safetensors with its card NAME.md: the weights that fusing needs (no "
    "optimiser, encoder or detector), their settings, where they come from, and scores on generated pairs."
)
PUSH: Final = (
    "Writes model.safetensors, README.md and config.json to a repository of Hugging Face's hub, or to a folder."
)
MODEL: Final = "A name, a released file, or hf://owner/name."


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `models` commands, `list` without one; returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or a file is no checkpoint or released file.
        HubError: If the hub cannot be reached, or refuses.
    """
    parser = _parser(reads=False)
    config = parser.parse_args(rewrite(list(arguments) or ["list"]).arguments)
    options = config[config.subcommand]
    if config.subcommand == "list":
        return _list()
    if config.subcommand == "pack":
        from ivif.commands.models.pack import pack

        checkpoint = Path(options.ckpt_path)
        for path in pack(checkpoint, options.name, Path(options.out), options.licence, options.limits):
            print(path)
        return 0
    from ivif.commands.models.hub_layout import push, show

    weights = find_weights(options.model, fetch=True)
    return show(weights) if config.subcommand == "show" else push(weights, options.to)


def _list() -> int:
    """One row a network; returns the exit code, 0."""
    from ivif.commands.models.hub_layout import read
    from ivif.files.text_tables import TextTable

    rows = []
    for name in released_names():
        path = FOLDER / f"{name}{RELEASED}"
        release = read(path)["release"]
        scores = [f"{release['scores']['network'][metric]:.3f}" for metric in ("VIF", "Qabf", "SSIM")]
        rows.append([name, release["task"], f"{path.stat().st_size / 1e6:.2f} MB", *scores])
    if not rows:
        raise UsageError(f"This installation brings no networks. Pack one of yours: {program()} models pack --help")
    print(TextTable(["name", "method", "size", "VIF", "Qabf", "SSIM"], rows).markdown())
    return 0


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of all `models` commands."""
    parser = SuiteParser(prog=f"{program()} models", description="Trained networks by name.")
    pack = SuiteParser(description=PACK)
    pack.add_argument("--ckpt_path", type=str, required=True, help="The checkpoint, or the folder of its run.")
    pack.add_argument("--name", type=str, required=True, help="What the network shall be called.")
    pack.add_argument("--out", type=str, default=".", help="The folder to write to.")
    pack.add_argument("--licence", type=str, required=True, help="Terms of the training data, for the card.")
    pack.add_argument("--limits", type=str, required=True, help="Where the network fails, for the card.")
    push = SuiteParser(description=PUSH)
    push.add_argument("model", type=str, help=MODEL)
    push.add_argument("--to", type=str, required=True, help=f"{HUB}owner/name, or a folder.")
    show = SuiteParser(description="Prints the card of a network.")
    show.add_argument("model", type=str, help=MODEL)
    listing = SuiteParser(description="Lists the networks that come with the suite, with scores on generated pairs.")
    parser.add_described({"list": listing, "show": show, "pack": pack, "push": push})
    return parser
