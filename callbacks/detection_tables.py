"""Tables of detection scores: one row per dataset and class."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from callbacks.tables import OVERALL
from metrics.detection import OPERATING_IOU, DetectionScores

COLUMNS = ("AP50", "AP50_95", "objects", "detections")


class DetectionTable:
    """Scores of a method on one or several datasets.

    Args:
        method: What was tested.
        scores: Dataset -> scores; `OVERALL` stands for all of several datasets.
    """

    def __init__(self, method: str, scores: Mapping[str, DetectionScores]) -> None:
        self.method = method
        self.scores = scores
        self.rows = pd.DataFrame(
            [row for dataset, result in scores.items() for row in _rows(method, dataset, result)],
            columns=["dataset", "method", "class", *COLUMNS, "precision", "recall", "threshold", "images"],
        )

    def show(self, console: Console | None = None) -> None:
        """Prints one table per dataset, classes as rows."""
        console = console or Console()
        for dataset, result in self.scores.items():
            table = Table(title=f"{dataset}: detection by {self.method}, {result.images} images")
            table.add_column("class")
            for column in COLUMNS:
                table.add_column(column, justify="right")
            for row in self.rows[self.rows["dataset"] == dataset].to_dict("records"):
                numbers = [f"{row['AP50']:.4f}", f"{row['AP50_95']:.4f}", f"{row['objects']:.0f}"]
                table.add_row(str(row["class"]), *numbers, f"{row['detections']:.0f}")
            console.print(table)
            console.print(_operating_line(result), soft_wrap=True)

    def write(self, folder: Path, stem: str = "detection") -> None:
        """Writes `<stem>.csv` and `<stem>.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.rows.to_csv(folder / f"{stem}.csv", index=False)
        (folder / f"{stem}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            "Average precision as COCO's, at IoU .5 and averaged over .5 to .95; `mean` is over classes with objects.",
            "",
            "| dataset | method | class | AP50 ↑ | AP50-95 ↑ | objects | detections |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in self.rows.to_dict("records"):
            numbers = f"{row['AP50']:.4f} | {row['AP50_95']:.4f} | {row['objects']:.0f} | {row['detections']:.0f}"
            lines.append(f"| {row['dataset']} | {row['method']} | {row['class']} | {numbers} |")
        lines += ["", *(f"{dataset}: {_operating_line(result)}" for dataset, result in self.scores.items())]
        return "\n".join(lines) + "\n"


def with_overall(scores: dict[str, DetectionScores], overall: DetectionScores) -> dict[str, DetectionScores]:
    """The datasets' scores, and those of all images where there are several datasets."""
    return scores | ({OVERALL: overall} if len(scores) > 1 else {})


def _rows(method: str, dataset: str, result: DetectionScores) -> list[dict[str, object]]:
    common: dict[str, object] = {"dataset": dataset, "method": method, "images": result.images}
    mean = {
        "class": "mean",
        "AP50": result.map50,
        "AP50_95": result.map50_95,
        "objects": sum(values["objects"] for values in result.classes.values()),
        "detections": sum(values["detections"] for values in result.classes.values()),
        "precision": result.precision,
        "recall": result.recall,
        "threshold": result.threshold,
    }
    return [common | mean, *(common | {"class": name} | values for name, values in result.classes.items())]


def _operating_line(result: DetectionScores) -> str:
    return (
        f"precision {result.precision:.3f}, recall {result.recall:.3f} at IoU {OPERATING_IOU} and score "
        f"{result.threshold:.3f}, where their F1 is best (all classes together)"
    )
