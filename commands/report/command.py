"""`ivif report`: scores folders of fused images that anyone made, and shows what runs logged."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from jsonargparse.typing import PositiveInt

from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.commands.report.files import OVERWRITE
from ivif.files.pictures import MAX_PIXELS

STAGE: Final = "Which pairs of --data; default: test."

GRID: Final = (
    "Draws chosen pairs beside what several methods make of them, as PNG and PDF. Methods are folders of pictures, "
    "runs or checkpoints; boxes of each pair are enlarged in coloured frames."
)

PAIRS: Final = (
    "Which pairs count: `shared`, those that all methods have, so that means can be compared; `all`, for each method "
    "those that it has."
)


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `report` commands; returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or a folder or pair is not there.
    """
    arguments = rewrite(arguments).arguments
    parser = _parser(reads=any(re.match(r"--data\b", argument) for argument in arguments))
    config = parser.parse_args(arguments)
    options = config[config.subcommand]
    # each brings pandas, matplotlib, torch or W&B as it needs them
    if config.subcommand == "run":
        from ivif.commands.report.charts import METRICS
        from ivif.commands.report.run import report_run

        out, picture, curves = (Path(name) if name else None for name in (options.out, options.picture, options.curves))
        folders = [Path(folder) for folder in options.folder]
        return report_run(folders, out, picture, curves, options.metrics or METRICS, options.overwrite)
    if config.subcommand == "workspace":
        from ivif.commands.report.workspace import report_workspace

        return report_workspace(options.project, options.entity, Path(options.out), options.save, options.overwrite)
    if config.subcommand == "grid":
        from ivif.commands.report.grid import report_grid

        out = Path(options.out) if options.out else None
        return report_grid(Path(options.figure), out, options.device, options.dpi, options.overwrite)
    from ivif.commands.report.score import Sources, score

    data = parser.instantiate(config)[config.subcommand].data if options.data else None
    infrared, visible = (Path(name) if name else None for name in (options.infrared, options.visible))
    return score(
        Sources(infrared, visible, data, options.stage, options.pair, options.max_pixels),
        fused=[Path(folder) for folder in options.fused],
        convention=options.convention or ["standard"],
        metrics=options.metrics,
        out=Path(options.out),
        classic=options.classic,
        every_pair=options.pairs == "all",
        device=options.device,
        overwrite=options.overwrite,
        checkpoints=[Path(path) for path in options.ckpt or ()],
    )


def _parser(reads: bool) -> SuiteParser:
    """The parser of all `report` commands; only where one `reads` a dataset, it has all options of that."""
    parser = SuiteParser(
        prog=f"{program()} report", description="Scores fused images that anyone made, and shows runs."
    )
    several: dict[str, Any] = {"type": str, "nargs": "+", "action": "extend"}
    scores, page, board, grid = _scores(reads, several), _page(several), _board(), _grid()
    for command in (scores, page, board, grid):
        command.add_argument("--overwrite", type=bool, default=False, help=OVERWRITE)
    parser.add_described({"score": scores, "run": page, "workspace": board, "grid": grid})
    return parser


def _scores(reads: bool, several: dict[str, Any]) -> SuiteParser:
    scores = SuiteParser(description="Scores folders of fused images, made by any method, against their source pairs.")
    scores.add_argument("--infrared", type=str | None, default=None, help="Folder of infrared images.")
    scores.add_argument("--visible", type=str | None, default=None, help="Folder of visible images, grey or colour.")
    if reads:
        from ivif.datamodules.base import FusionDataModule  # brings Lightning

        scores.add_subclass_arguments(FusionDataModule, "data", fail_untyped=False)
    else:
        scores.add_argument("--data", type=str | None, default=None, help="A dataset, instead of the two folders.")
    scores.add_argument("--stage", type=Literal["train", "val", "test", "all"] | None, default=None, help=STAGE)
    scores.add_argument("--pairs", type=Literal["shared", "all"], default="shared", help=PAIRS)
    scores.add_argument("--fused", required=True, help="Folder of one method's results; repeat it.", **several)
    scores.add_argument("--ckpt", help="Checkpoint behind a folder: was it trained on these pairs?", **several)
    scores.add_argument("--convention", help="standard, mgfusion, cddfuse, vifb, ivif_zoo; several at will.", **several)
    scores.add_argument("--metrics", help="Which metrics; default: those of the convention.", **several)
    scores.add_argument("--pair", type=str | None, default=None, help="Regex; its first group names a pair.")
    scores.add_argument("--out", type=str, default="runs/report", help="Folder of the tables and the figure.")
    scores.add_argument(
        "--classic", type=bool, default=True, help="Add average, maximum, Laplacian pyramid and contourlet."
    )
    scores.add_argument("--device", type=str, default="cpu", help="cpu, cuda, ...")
    scores.add_argument("--max_pixels", type=int, default=MAX_PIXELS, help="Larger pictures are left out, undecoded.")
    return scores


def _page(several: dict[str, Any]) -> SuiteParser:
    page = SuiteParser(description="Writes a run as one HTML page: curves, panels, tables, configuration.")
    page.add_argument("folder", type=str, nargs="+", help="The run folder, then those of tests of it.")
    page.add_argument("--out", type=str | None, default=None, help="The page to write; default: FOLDER/report.html.")
    page.add_argument("--picture", type=str | None, default=None, help="Also a PNG or JPEG of its beginning.")
    page.add_argument("--curves", type=str | None, default=None, help="Also a figure of loss and validation metrics.")
    page.add_argument("--metrics", help="Metrics of that figure, where logged; default: Qabf VIF SSIM.", **several)
    return page


def _board() -> SuiteParser:
    board = SuiteParser(description="Writes the definition of a W&B workspace and report; --save creates them.")
    board.add_argument("--entity", type=str, required=True, help="Your W&B user or team.")
    board.add_argument("--project", type=str, default="ivif-lightning", help="The project whose runs are shown.")
    board.add_argument("--out", type=str, default="runs/report", help="Folder of workspace.json and report.json.")
    board.add_argument("--save", action="store_true", help="Create both online; needs a key and a network.")
    return board


def _grid() -> SuiteParser:
    grid = SuiteParser(description=GRID)
    grid.add_argument("figure", type=str, help="The YAML file of the figure.")
    grid.add_argument("--out", type=str | None, default=None, help="The figure; default: beside the YAML file.")
    grid.add_argument("--device", type=str, default="auto", help="Where runs fuse: cpu, cuda, ...")
    grid.add_argument("--dpi", type=PositiveInt, default=300, help="Pixels of the PNG per inch.")
    return grid
