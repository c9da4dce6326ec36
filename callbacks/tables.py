"""Tables of what was scored: fused pictures by method and metric, detections by class; a block for each dataset."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pandas as pd
from rich.console import Console

from ivif.callbacks.trained_pairs import OVERALL, TRAINED_ON, TrainedPairs
from ivif.files.table_files import write_table
from ivif.files.text_output import cell, markdown
from ivif.files.text_tables import TextTable, mark_best, sizes_text
from ivif.files.whole import write_whole
from ivif.metrics.detection import DETECTIONS_PER_CLASS, ClassScores, DetectionReport, DetectionScores
from ivif.metrics.detection_record import to_bytes
from ivif.metrics.detection_threshold import MATCHING_IOU
from ivif.metrics.fusion import FusionMetrics
from ivif.metrics.registry import METRICS, with_direction

MEAN = "mean"
"""Name of the row that stands for all classes with objects."""

SHARES = {"AP50": "AP50 ↑", "AP50_95": "AP50-95 ↑", "precision": "precision ↑", "recall": "recall ↑"}
"""Columns of shares in [0, 1], and how readable tables call them."""

COUNTS = ("objects", "detections")
"""Columns of counts."""

PER_IMAGE: Final = "_per_image.safetensors"
"""End of the name of the file that has what was found, and what is there, in each picture."""

Record: TypeAlias = Mapping[Hashable, Any]
"""A row of a summary: what is averaged over, a mean of each metric, and `n_<metric>` images of each mean."""


class ResultTable:
    """Gathers the scores of several methods on the same images.

    Args:
        convention: Convention that the scores follow; every table prints it.
        scores: Method -> its scores; with DDP, building the table gathers them from all ranks.
        trained: Which pairs the first method has learnt from, where it has learnt at all.
        cost: What the first method costs: further columns.
    """

    def __init__(
        self,
        convention: str,
        scores: Mapping[str, FusionMetrics],
        trained: TrainedPairs | None = None,
        cost: Mapping[str, float | str] | None = None,
    ) -> None:
        self.convention = convention
        rows = [{"method": method, **row} for method, metric in scores.items() for row in metric.per_image()]
        self.per_image = pd.DataFrame(rows)
        places = ("method", "dataset", "name", "width", "height")
        self.metrics = [name for name in self.per_image.columns if name not in places]
        self.summary = self._summarise()
        self.last = ["n", "size", "undefined"]
        learner = next(iter(scores))
        for name, value in (cost or {}).items():
            shown = value if isinstance(value, str) else f"{value:.4g}"
            self.summary[name] = [shown if method == learner else "-" for method in self.summary["method"]]
            self.last.append(name)
        if trained is not None:
            self._mark(self.per_image, learner, lambda row: trained.mark(row["dataset"], row["name"]))
            self._mark(self.summary, learner, lambda row: trained.text(row["dataset"]))
            self.last.append(TRAINED_ON)

    @staticmethod
    def _mark(table: pd.DataFrame, learner: str, text: Callable[[Record], str]) -> None:
        """Adds the column of what was trained on: the other methods have learnt from nothing."""
        rows = table.to_dict("records")
        table[TRAINED_ON] = [text(row) if row["method"] == learner else "-" for row in rows]

    def _summarise(self) -> pd.DataFrame:
        blocks = [(dataset, rows) for dataset, rows in self.per_image.groupby("dataset", sort=False)]
        if len(blocks) > 1:
            blocks.append((OVERALL, self.per_image))
        records = []
        for dataset, rows in blocks:
            for method, own in rows.groupby("method", sort=False):
                record: dict[str, object] = {"dataset": dataset, "method": method, "n": len(own)}
                record["size"] = sizes_text(zip(own["width"], own["height"], strict=True))
                record |= {metric: own[metric].mean() for metric in self.metrics}
                record["undefined"] = int(own[self.metrics].isna().sum().sum())
                record |= {f"n_{metric}": int(own[metric].notna().sum()) for metric in self.metrics}
                records.append(record)
        return pd.DataFrame(records)

    def show(self, console: Console | None = None) -> None:
        """Prints one table per dataset, metrics as rows so that it fits a terminal."""
        for dataset, rows in self.summary.groupby("dataset", sort=False):
            where = f"{rows['n'].max()} images, {rows['size'].iloc[0]}"
            title = f"{dataset}: means over {where}, convention '{self.convention}'"
            records = rows.to_dict("records")
            means = [[with_direction(name), *marked_means(records, name)] for name in self.metrics]
            last = [[name, *map(str, rows[name])] for name in self.last[2:]]
            TextTable(["metric", *rows["method"]], [*means, *last], title).show(console or Console())

    def write(self, folder: Path, stem: str) -> None:
        """Writes `<stem>.csv`, `<stem>.md` and `<stem>_per_image.csv`, each complete or as before."""
        write_table(self.summary.assign(convention=self.convention), folder / f"{stem}.csv")
        write_table(self.per_image, folder / f"{stem}_per_image.csv")
        write_whole(folder / f"{stem}.md", self.markdown())

    def markdown(self) -> str:
        """The summary as a Markdown table."""
        rows = []
        for _, block in self.summary.groupby("dataset", sort=False):
            records = block.to_dict("records")
            means = zip(*(marked_means(records, name) for name in self.metrics), strict=True)
            rows += [
                [row["dataset"], row["method"], *own, *(str(row[name]) for name in self.last)]
                for row, own in zip(records, means, strict=True)
            ]
        table = TextTable(["dataset", "method", *map(with_direction, self.metrics), *self.last], rows)
        explained = "undefined values are left out of the means; the best of each dataset is bold"
        return f"Convention `{self.convention}`; {explained}.\n\n{table.markdown()}\n"

    def sizes(self) -> dict[str, set[tuple[int, int]]]:
        """The sizes, (width, height), at which each dataset's pictures were scored."""
        groups = self.per_image.groupby("dataset", sort=False)
        return {str(dataset): set(zip(rows["width"], rows["height"], strict=True)) for dataset, rows in groups}


class DetectionTable:
    """Scores of a method on one or several datasets.

    Args:
        method: What was tested.
        report: Its scores. Where there are several datasets, `OVERALL` stands for all of them.
        sizes: Dataset -> the sizes of its pictures, (width, height).
        trained: Which pairs it has learnt from, where it has learnt at all.
    """

    def __init__(
        self,
        method: str,
        report: DetectionReport,
        sizes: Mapping[str, set[tuple[int, int]]],
        trained: TrainedPairs | None = None,
    ) -> None:
        self.method = method
        self.trained = trained
        self.report = report
        self.scores = scores_by_dataset(report)
        own = {dataset: sizes[dataset] for dataset in report.datasets}
        self.sizes = {name: sizes_text(found) for name, found in own.items()} | {
            OVERALL: sizes_text(set().union(*own.values()))
        }
        self.rows = detection_rows(method, report)
        self.rows["size"] = self.rows["dataset"].map(self.sizes)

    def show(self, console: Console | None = None) -> None:
        """Prints one table per dataset, classes as rows."""
        console = console or Console()
        for dataset, scores in self.scores.items():
            rows = self.rows[self.rows["dataset"] == dataset].to_dict("records")
            cells = [[str(row["class"]), *_cells(row)] for row in rows]
            title = f"{dataset}: detection by {self.method}, {scores.images} images, {self.sizes[dataset]}"
            TextTable(["class", *SHARES.values(), *COUNTS], cells, title).show(console)
            console.print(cell(self._explained(dataset, scores)), soft_wrap=True, highlight=False)

    def write(self, folder: Path, stem: str = "detection") -> None:
        """Writes `<stem>.csv`, `<stem>.md` and `<stem>_per_image.safetensors`, each complete or as before."""
        write_whole(folder / f"{stem}{PER_IMAGE}", to_bytes(self.report.images, list(self.report.overall.classes)))
        write_table(self.rows, folder / f"{stem}.csv")
        write_whole(folder / f"{stem}.md", self.markdown())

    def markdown(self) -> str:
        """The table as Markdown, with what its figures mean."""
        names = ("dataset", "method", "class")
        rows = [
            [*(str(row[name]) for name in names), *_cells(row), str(row["images"]), row["size"]]
            for row in self.rows.to_dict("records")
        ]
        lines = [
            f"Average precision as COCO's (at most {DETECTIONS_PER_CLASS} detections of a class in an image), at IoU .5"
            f" and averaged over .5 to .95; `{MEAN}` is over the classes with objects, precision and recall there over "
            f"all of them together.",
            "",
            TextTable([*names, *SHARES.values(), *COUNTS, "images", "size"], rows).markdown(),
            "",
            *(f"- {markdown(name)}: {markdown(self._explained(name, own))}" for name, own in self.scores.items()),
        ]
        return "\n".join(lines) + "\n"

    def _explained(self, dataset: str, scores: DetectionScores) -> str:
        text = _explanation(scores)
        return text if self.trained is None else f"{text} Pairs that were trained on: {self.trained.text(dataset)}."


def marked_means(records: Sequence[Record], metric: str) -> list[str]:
    """A metric's mean of each method on a dataset, the best marked, with the number of images where it is not all.

    A mean over fewer images than another is not compared with it.
    """
    counts = [record.get(f"n_{metric}", record["n"]) for record in records]
    shown, compared = [], []
    for record, count in zip(records, counts, strict=True):
        text = "-" if math.isnan(record[metric]) else f"{record[metric]:.4f}"
        shown.append(text if count == record["n"] else f"{text} (n={count})")
        compared.append(round(record[metric], 4) if count == max(counts) else math.nan)
    return mark_best(shown, compared, METRICS[metric].higher_is_better)


def scores_by_dataset(report: DetectionReport) -> dict[str, DetectionScores]:
    """The scores of each dataset and, where there are several, of all together (`OVERALL`)."""
    return report.datasets | ({OVERALL: report.overall} if len(report.datasets) > 1 else {})


def detection_rows(method: str, report: DetectionReport) -> pd.DataFrame:
    """A row for each class of each dataset, after their mean, with `SHARES`, `COUNTS`, score threshold and images."""
    return pd.DataFrame(
        [row for dataset, scores in scores_by_dataset(report).items() for row in _rows(method, dataset, scores)],
        columns=["dataset", "method", "class", *SHARES, *COUNTS, "threshold", "images"],
    )


def _rows(method: str, dataset: str, scores: DetectionScores) -> list[dict[str, object]]:
    common = {"dataset": dataset, "method": method, "threshold": scores.threshold, "images": scores.images}
    mean = {"class": MEAN, "AP50": scores.map50, "AP50_95": scores.map50_95} | _shared(scores)
    classes = [
        {"class": name, "AP50": one.ap50, "AP50_95": one.ap50_95} | _shared(one) for name, one in scores.classes.items()
    ]
    return [common | row for row in (mean, *classes)]


def _shared(scores: DetectionScores | ClassScores) -> dict[str, object]:
    return {name: getattr(scores, name) for name in ("precision", "recall", *COUNTS)}


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
