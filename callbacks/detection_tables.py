"""Tables of detection scores: one row per dataset and class, and one for their mean."""

import math
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from ivif.callbacks.tables import OVERALL
from ivif.files.table_files import write_table
from ivif.files.text_output import cell, markdown, markdown_row
from ivif.files.whole import write_whole
from ivif.metrics.detection import DETECTIONS_PER_CLASS, DetectionReport, DetectionScores
from ivif.metrics.detection_threshold import MATCHING_IOU

MEAN = "mean"
"""Name of the row that stands for all classes with objects."""

SHARES = {"AP50": "AP50 ↑", "AP50_95": "AP50-95 ↑", "precision": "precision ↑", "recall": "recall ↑"}
"""Columns of shares in [0, 1], and how readable tables call them."""

COUNTS = ("objects", "detections")
"""Columns of counts."""


class DetectionTable:
    """Scores of a method on one or several datasets.

    Args:
        method: What was tested.
        report: Its scores. Where there are several datasets, `OVERALL` stands for all of them.
    """

    def __init__(self, method: str, report: DetectionReport) -> None:
        self.method = method
        self.scores = report.datasets | ({OVERALL: report.overall} if len(report.datasets) > 1 else {})
        self.rows = pd.DataFrame(
            [row for dataset, scores in self.scores.items() for row in _rows(method, dataset, scores)],
            columns=["dataset", "method", "class", *SHARES, *COUNTS, "threshold", "images"],
        )

    def show(self, console: Console | None = None) -> None:
        """Prints one table per dataset, classes as rows."""
        console = console or Console()
        for dataset, scores in self.scores.items():
            table = Table(title=cell(f"{dataset}: detection by {self.method}, {scores.images} images"))
            table.add_column("class")
            for column in (*SHARES.values(), *COUNTS):
                table.add_column(column, justify="right")
            for row in self.rows[self.rows["dataset"] == dataset].to_dict("records"):
                table.add_row(cell(row["class"]), *_cells(row))
            console.print(table)
            console.print(cell(_explanation(scores)), soft_wrap=True, highlight=False)

    def write(self, folder: Path, stem: str = "detection") -> None:
        """Writes `<stem>.csv` and `<stem>.md`, each complete or as before."""
        write_table(self.rows, folder / f"{stem}.csv")
        write_whole(folder / f"{stem}.md", self.markdown())

    def markdown(self) -> str:
        """The table as Markdown, with what its figures mean."""
        titles = ["dataset", "method", "class", *SHARES.values(), *COUNTS, "images"]
        lines = [
            f"Average precision as COCO's (at most {DETECTIONS_PER_CLASS} detections of a class in an image), at IoU .5"
            f" and averaged over .5 to .95; `{MEAN}` is over the classes with objects, precision and recall there over "
            f"all of them together.",
            "",
            markdown_row(titles),
            "|" + "|".join(" --- " for _ in titles) + "|",
        ]
        for row in self.rows.to_dict("records"):
            cells = [str(row["dataset"]), str(row["method"]), str(row["class"]), *_cells(row), str(row["images"])]
            lines.append(markdown_row(cells))
        lines += [
            "",
            *(f"- {markdown(dataset)}: {markdown(_explanation(scores))}" for dataset, scores in self.scores.items()),
        ]
        return "\n".join(lines) + "\n"


def _rows(method: str, dataset: str, scores: DetectionScores) -> list[dict[str, object]]:
    common = {"dataset": dataset, "method": method, "threshold": scores.threshold, "images": scores.images}
    mean = {
        "class": MEAN,
        "AP50": scores.map50,
        "AP50_95": scores.map50_95,
        "precision": scores.precision,
        "recall": scores.recall,
        "objects": scores.objects,
        "detections": scores.detections,
    }
    classes = [
        {
            "class": name,
            "AP50": own.ap50,
            "AP50_95": own.ap50_95,
            "precision": own.precision,
            "recall": own.recall,
            "objects": own.objects,
            "detections": own.detections,
        }
        for name, own in scores.classes.items()
    ]
    return [common | row for row in (mean, *classes)]


def _cells(row: dict[str, object] | dict[object, object]) -> list[str]:
    shares = [float(str(row[column])) for column in SHARES]
    return ["-" if math.isnan(share) else f"{share:.4f}" for share in shares] + [str(row[column]) for column in COUNTS]


def _explanation(scores: DetectionScores) -> str:
    if not scores.objects:
        return "no objects, so no score is defined."
    text = (
        f"precision and recall (IoU {MATCHING_IOU}) are those at score {scores.threshold:.3f}, where the F1 of all "
        f"classes together is best."
    )
    if not scores.recall:
        text = f"no detection is right (IoU {MATCHING_IOU})."
    absent = ", ".join(scores.absent)
    return f"{text} Without objects, and left out of the mean: {absent}." if absent else text
