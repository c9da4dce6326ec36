"""`ivif study`: grids of experiments, and the tables that join what they scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveInt

from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.commands.report.files import OVERWRITE


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `study` commands; returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or the study is not there.
    """
    parser = _parser(reads=False)
    config = parser.parse_args(rewrite(arguments).arguments)
    options = config[config.subcommand]
    if config.subcommand == "run":
        return _start(options, arguments)
    if config.subcommand == "search":
        from ivif.commands.study.search import study_search

        folder, root, added = Path(options.searches_dir), Path(options.root), options.options or ()
        return study_search(options.search, folder, root, options.jobs, added, options.trials)
    from ivif.commands.study.table import TableOptions, study_table  # brings torch, pandas and matplotlib

    shown = TableOptions(
        options.reference,
        options.published,
        options.rank_published,
        options.cost,
        options.accuracy,
    )
    out = Path(options.out) if options.out else None
    return study_table(study_folder(options.study, Path(options.studies_dir)), out, shown, options.overwrite)


def _start(options: Any, arguments: Sequence[str]) -> int:
    """`study run`: here, as jobs of a cluster, or one run of such a job."""
    folder, root, added = Path(options.studies_dir), Path(options.root), options.options or ()
    if options.submit and (options.cell or options.dry_run):
        raise UsageError("--submit submits all runs that are left: leave out --cell and --dry_run.")
    if options.submit:
        from ivif.commands.study.submission import study_submit

        return study_submit(options.study, folder, root, added, Path(options.submit), arguments)
    from ivif.commands.study.run import study_cell, study_run

    if options.cell:
        return study_cell(options.study, folder, root, added, options.cell)
    return study_run(options.study, folder, root, options.jobs, options.dry_run, added, options.measure)


def study_folder(study: str, studies: Path) -> Path:
    """The folder of a study: that which is named, or that of the study in a YAML file.

    Raises:
        UsageError: If there is none.
    """
    folder = studies / Path(study).stem if Path(study).suffix in (".yaml", ".yml") else Path(study)
    if not folder.is_dir():
        raise UsageError(f"There is no folder '{folder}' of the study '{study}'. Name its folder, or run it first.")
    return folder


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of all `study` commands."""
    parser = SuiteParser(
        prog=f"{program()} study", description="Runs grids of experiments, searches settings, and joins results."
    )
    parser.add_described({"run": _run(), "search": _search(), "table": _table()})
    return parser


def _run() -> SuiteParser:
    runs = SuiteParser(description="Fits and tests everything of a study that is not done yet.")
    runs.add_argument("study", type=str, help="The study's YAML file, or the name of one in configs/studies/.")
    runs.add_argument("--studies_dir", type=str, default="runs/studies", help="Where the folders of studies lie.")
    runs.add_argument("--root", type=str, default="data", help="Folder in which data and foreign pictures lie.")
    runs.add_argument(
        "--options", type=str, nargs="*", default=None, help="KEY=VALUE of every fit; wins over the file."
    )
    runs.add_argument("--jobs", type=PositiveInt, default=1, help="Runs at a time on this machine.")
    runs.add_argument("--dry_run", action="store_true", help="List the runs, their memory and options; run nothing.")
    runs.add_argument("--measure", action="store_true", help="With --dry_run: train a few steps, and list the time.")
    runs.add_argument("--submit", type=str | None, default=None, help="A YAML file of jobs of a cluster (scale.md).")
    runs.add_argument("--cell", type=str | None, default=None, help="Run this one alone, beside others: NAME.")
    return runs


def _search() -> SuiteParser:
    search = SuiteParser(description="Looks for the settings with the best validation score, by fits that it draws.")
    search.add_argument("search", type=str, help="The search's YAML file, or the name of one in configs/searches/.")
    search.add_argument("--searches_dir", type=str, default="runs/searches", help="Where the folders of searches lie.")
    search.add_argument("--root", type=str, default="data", help="Folder in which data lie.")
    search.add_argument(
        "--options", type=str, nargs="*", default=None, help="KEY=VALUE of every fit; wins over the file."
    )
    search.add_argument("--trials", type=PositiveInt | None, default=None, help="How many; default: as in the file.")
    search.add_argument("--jobs", type=PositiveInt, default=1, help="Trials at a time on this machine.")
    return search


def _table() -> SuiteParser:
    several: dict[str, Any] = {"type": str, "nargs": "*", "default": None}
    table = SuiteParser(
        description="Writes the tables of a study: means and spread over seeds, ranks, differences, published rows."
    )
    table.add_argument("study", type=str, help="The study's YAML file, or its folder.")
    table.add_argument("--studies_dir", type=str, default="runs/studies", help="Where the folders of studies lie.")
    table.add_argument("--out", type=str | None, default=None, help="Folder of the tables; default: tables/ in it.")
    table.add_argument("--reference", type=str | None, default=None, help="Row to compare with; default: the first.")
    table.add_argument("--published", help="Papers whose rows stand below ours; default: all that fit.", **several)
    table.add_argument("--rank_published", type=bool, default=False, help="Rank these rows with ours.")
    table.add_argument("--cost", type=str, default="GFLOPs", help="What accuracy is drawn against, where measured.")
    table.add_argument("--accuracy", type=str | None, default=None, help="The metric of that figure.")
    table.add_argument("--overwrite", type=bool, default=False, help=OVERWRITE)
    return table
