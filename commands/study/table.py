"""`ivif study table`: joins what the runs of a study scored into tables, with published rows beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd
from rich.console import Console

from ivif.commands.errors import UsageError
from ivif.commands.report.files import MARK, refuse_others, save_figure
from ivif.commands.report.tables import box_plots
from ivif.commands.study.published import published_names, read_published
from ivif.commands.study.record import read_record
from ivif.commands.study.table_page import page
from ivif.commands.study.table_scatter import draw_scatter
from ivif.commands.study.table_scores import StudyScores, gather
from ivif.commands.study.table_statistics import detection_summary, differences, fusion_summary, of_pictures
from ivif.commands.study.table_tests import exchange_tests, signed_rank_tests
from ivif.commands.study.table_texts import Part, Sources, parts
from ivif.files.names import printable
from ivif.files.table_files import write_table
from ivif.files.text_output import cell, markdown, terminal
from ivif.files.whole import write_whole

FILES: Final = (
    "tables.md",
    "tables.tex",
    "summary.csv",
    "differences.csv",
    "per_image.csv",
    "figure.png",
    "study.html",
)
"""What is written into `out`; with costs also `SCATTER`."""

SCATTER: Final = "efficiency.png"


@dataclass(frozen=True)
class TableOptions:
    """What a study's tables show.

    Attributes:
        reference: The row that others are compared with; None: the first of the study.
        published: Papers whose rows stand below ours; None: all that have a table of the same data and convention.
        rank_published: Whether these are ranked with ours.
        cost: Which cost is drawn against the accuracy.
        accuracy: Which metric is drawn; None: the mean AP of boxes where there are any, else the first.
    """

    reference: str | None = None
    published: Sequence[str] | None = None
    rank_published: bool = False
    cost: str = "GFLOPs"
    accuracy: str | None = None


def study_table(
    study: Path, out: Path | None = None, options: TableOptions | None = None, overwrite: bool = False
) -> int:
    """Writes `FILES`.

    Args:
        study: The study's folder, with its record.
        out: The folder of the tables; `tables` in the study's by default.
        options: What they show.
        overwrite: Whether other files of these names may be replaced.

    Returns:
        The exit code: 1 if a run of the study is not in the tables, else 0.

    Raises:
        UsageError: If nothing is finished, a row or paper is unknown, or other files have the names of the results.
    """
    options = options or TableOptions()
    out = out or study / "tables"
    refuse_others([out / name for name in (*FILES, SCATTER)], overwrite)
    scores = gather(study, read_record(study))
    reference = options.reference or next(iter(scores.kinds))
    if reference not in scores.kinds:
        raise UsageError(f"--reference {reference}: there is no such row, but {', '.join(scores.kinds)}.")
    papers = published_names() if options.published is None else options.published
    sources = Sources(scores.costs, read_published(papers), options.rank_published, scores.boxes.from_folds)
    pictures, fusion, boxes = of_pictures(scores), fusion_summary(scores), detection_summary(scores)
    pairwise = [
        differences(boxes, reference, exchange_tests(scores.boxes, reference)),
        differences(fusion, reference, signed_rank_tests(pictures, reference)),
    ]
    compared = pd.concat([each for each in pairwise if len(each)] or pairwise[:1], ignore_index=True)
    summary = pd.concat([each for each in (boxes, fusion) if len(each)], ignore_index=True)
    found = list(parts(summary, compared, sources))
    write_table(summary, out / "summary.csv", undefined="nan")
    write_table(compared, out / "differences.csv", undefined="nan")
    write_table(scores.fusion, out / "per_image.csv", undefined="nan")
    save_figure(box_plots(pictures), out / "figure.png", dpi=120)
    figures = {"Values of the pictures": out / "figure.png"}
    if scores.costs:
        save_figure(draw_scatter(summary, scores.costs, options.cost, options.accuracy), out / SCATTER, dpi=150)
        figures = {"Accuracy against cost": out / SCATTER} | figures
    title = f"Study {study.resolve().name}"
    write_whole(out / "tables.md", as_markdown(title, found, scores))
    write_whole(out / "tables.tex", as_latex(found))
    write_whole(out / "study.html", terminal(page(title, found, scores, figures)))
    _show(found, scores, out)
    return int(bool(scores.notes))


def as_markdown(title: str, found: Sequence[Part], scores: StudyScores) -> str:
    """All parts in one Markdown text."""
    blocks = [f"# {markdown(title)}"]
    for part in found:
        blocks += [f"## {markdown(part.title)}", *map(markdown, part.about), part.table.markdown()]
        if part.compared is not None:
            blocks += [markdown(part.difference), part.compared.markdown()]
    for heading, lines in (("Not in the tables", scores.notes), ("Trained alike", scores.alike)):
        blocks += [f"## {heading}", "\n".join(f"- {markdown(line)}" for line in lines)] if lines else []
    return "\n\n".join([*blocks, f"<!-- {MARK} -->"]) + "\n"


def as_latex(found: Sequence[Part]) -> str:
    """All parts as tabulars of the package booktabs."""
    blocks = [f"% {MARK}; needs \\usepackage{{booktabs}}"]
    for part in found:
        about = "\n".join(f"% {printable(line)}" for line in (part.title, *part.about))
        blocks.append(f"{about}\n{part.table.latex()}")
        if part.compared is not None:
            blocks.append(f"% {printable(part.difference)}\n{part.compared.latex()}")
    return "\n\n".join(blocks) + "\n"


def _show(found: Sequence[Part], scores: StudyScores, out: Path) -> None:
    console = Console()
    for part in found:
        replace(part.table, title=part.title).show(console)
    for heading, lines in (("NOT IN THE TABLES", scores.notes), ("TRAINED ALIKE", scores.alike)):
        for line in lines:
            console.print(cell(f"{heading}: {line}"), style="red", soft_wrap=True, highlight=False)
    console.print(cell(f"Tables, figures and page: {out}"), soft_wrap=True, highlight=False)
