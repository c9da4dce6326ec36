"""The command line of `ivif demo`."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.files.libraries import needed
from ivif.weights import preferred_name

_PORT: Final = 7860
_PORTS: Final = range(1, 2**16)


def main(arguments: Sequence[str]) -> int:
    """Serves the page until it is stopped by the keyboard; returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or the port is taken.
        MissingLibraryError: If gradio is not installed.
        UserError: If `--model` is no network that fuses.
    """
    options = _parser(reads=False).parse_args(list(arguments))
    if options.port not in _PORTS:
        raise UsageError(f"--port {options.port}: a port is a number from 1 to {_PORTS[-1]}.")
    needed("gradio", f"{program()} demo", "pip install 'ivif-lightning[demo]'")
    with TemporaryDirectory(prefix="ivif-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
        from ivif.commands.demo.fusing import loaded
        from ivif.commands.demo.page import serve

        loaded(options.model or preferred_name())  # now, so that a wrong name is told before the page is up
        address, close = serve(Path(folder), options.model, options.port)
        print(f"The page is at {address}, for this machine alone. Ctrl-C ends it.", flush=True)
        try:
            Event().wait()
        finally:
            close()
    return 0


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of `demo`."""
    parser = SuiteParser(prog=f"{program()} demo", description="A page on this machine to try networks on pictures.")
    parser.add_argument(
        "--model",
        type=str | None,
        default=None,
        help="A network beside the released ones: a checkpoint, a run's folder, a released file or hf://owner/name.",
    )
    parser.add_argument("--port", type=int, default=_PORT, help="Where on this machine the page is served.")
    return parser
