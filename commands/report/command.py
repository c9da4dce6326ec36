"""`ivif report`: scores folders of fused images that anyone made, and shows what runs logged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.commands.report.files import OVERWRITE
from ivif.files.pictures import MAX_PIXELS


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `report` commands; returns the exit code.

    Raises:
        UsageError: If the command line is wrong, or a folder or pair is not there.
    """
    parser = _parser()
    config = parser.parse_args(list(arguments))
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
    from ivif.commands.report.score import score

    return score(
        infrared=Path(options.infrared),
        visible=Path(options.visible),
        fused=[Path(folder) for folder in options.fused],
        convention=options.convention or ["standard"],
        metrics=options.metrics,
        pair=options.pair,
        out=Path(options.out),
        classic=options.classic,
        device=options.device,
        overwrite=options.overwrite,
        max_pixels=options.max_pixels,
    )


def _parser() -> SuiteParser:
    parser = SuiteParser(
        prog=f"{program()} report", description="Scores fused images that anyone made, and shows runs."
    )
    scores = SuiteParser(description="Scores folders of fused images, made by any method, against their source pairs.")
    several: dict[str, Any] = {"type": str, "nargs": "+", "action": "extend"}
    scores.add_argument("--infrared", type=str, required=True, help="Folder of infrared images.")
    scores.add_argument("--visible", type=str, required=True, help="Folder of visible images, grey or colour.")
    scores.add_argument("--fused", required=True, help="Folder of one method's results; repeat it.", **several)
    scores.add_argument("--convention", help="standard, mgfusion, cddfuse, vifb, ivif_zoo; several at will.", **several)
    scores.add_argument("--metrics", help="Which metrics; default: those of the convention.", **several)
    scores.add_argument("--pair", type=str | None, default=None, help="Regex; its first group names a pair.")
    scores.add_argument("--out", type=str, default="runs/report", help="Folder of the tables and the figure.")
    scores.add_argument(
        "--classic", type=bool, default=True, help="Add average, maximum, Laplacian pyramid and contourlet."
    )
    scores.add_argument("--device", type=str, default="cpu", help="cpu, cuda, ...")
    scores.add_argument("--max_pixels", type=int, default=MAX_PIXELS, help="Larger pictures are left out, undecoded.")
    page = SuiteParser(description="Writes a run as one HTML page: curves, panels, tables, configuration.")
    page.add_argument("folder", type=str, nargs="+", help="The run folder, then those of tests of it.")
    page.add_argument("--out", type=str | None, default=None, help="The page to write; default: FOLDER/report.html.")
    page.add_argument("--picture", type=str | None, default=None, help="Also a PNG or JPEG of its beginning.")
    page.add_argument("--curves", type=str | None, default=None, help="Also a figure of loss and validation metrics.")
    page.add_argument("--metrics", help="Metrics of that figure, where logged; default: Qabf VIF SSIM.", **several)
    board = SuiteParser(description="Writes the definition of a W&B workspace and report; --save creates them.")
    board.add_argument("--entity", type=str, required=True, help="Your W&B user or team.")
    board.add_argument("--project", type=str, default="ivif-lightning", help="The project whose runs are shown.")
    board.add_argument("--out", type=str, default="runs/report", help="Folder of workspace.json and report.json.")
    board.add_argument("--save", action="store_true", help="Create both online; needs a key and a network.")
    for command in (scores, page, board):
        command.add_argument("--overwrite", type=bool, default=False, help=OVERWRITE)
    parser.add_described({"score": scores, "run": page, "workspace": board})
    return parser
