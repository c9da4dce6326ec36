"""`ivif predict merge`: joins the shards of a folder, so that it is as one `predict` had left it."""

from collections.abc import Sequence
from pathlib import Path

from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.files.names import printable


def main(arguments: Sequence[str]) -> int:
    """Runs `predict merge` and returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or another process writes into the folder.
        ShardError: If a shard is not done, or they do not fit together.
    """
    options = _parser(reads=False).parse_args(rewrite(arguments).arguments)
    output = Path(options.output_dir)
    if not output.is_dir():
        raise UsageError(f"There is no folder '{printable(output)}'.")
    from ivif.commands.train.merging import merge  # brings torch and Lightning

    pictures, shards, results = merge(output)
    print(f"Fused images: {pictures} of {shards} shards joined in {output}")
    for path in results:
        print(f"Detections: {path}")
    return 0


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of `predict merge`."""
    parser = SuiteParser(
        prog=f"{program()} predict merge", description="Joins what several predict --shard made in one folder."
    )
    parser.add_argument("output_dir", type=str, help="The folder that all shards were written into.")
    return parser
