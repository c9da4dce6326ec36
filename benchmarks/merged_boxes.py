"""What two detectors find together: the boxes of two rows of a study joined, beside each row and beside an oracle.

    python benchmarks/merged_boxes.py --study runs/studies/detection_folds_cpu [--rows infrared visible]
                                      [--beside separate value_function] [--overlap 0.6]

Nothing is trained: the study's tests keep what they found in each picture. *Joined* puts the boxes of both rows into
one list, of which the lower-scored of two of one class that overlap by more than `--overlap` goes (torchvision's NMS).
*Oracle* takes in each picture the row whose F1 there is higher, at the score threshold that is best for the whole row:
a choice of one modality by the objects themselves. p compares a row with the first of `--rows`: a permutation test over
the pictures.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torchvision.ops import batched_nms  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.callbacks.tables import PER_IMAGE  # noqa: E402
from ivif.commands.study.record import read_record  # noqa: E402
from ivif.contracts.batch import Detections  # noqa: E402
from ivif.metrics.detection import DetectionMetrics, DetectionReport  # noqa: E402
from ivif.metrics.detection_comparison import exchange_test  # noqa: E402
from ivif.metrics.detection_record import read_metrics  # noqa: E402
from ivif.metrics.detection_threshold import Matches  # noqa: E402
from ivif.models.detection import DetectorConfig  # noqa: E402

Key = tuple[str, str]


@dataclass(frozen=True)
class Scored:
    """What a row found, with its scores.

    Args:
        metrics: Of all its pictures.
    """

    metrics: DetectionMetrics

    @cached_property
    def report(self) -> DetectionReport:
        """Its scores."""
        return self.metrics.report()

    @cached_property
    def matches(self) -> dict[Key, Matches]:
        """Which of its detections are right, by picture."""
        return self.metrics.matches()


def joined(first: Detections, second: Detections, overlap: float) -> Detections:
    """Boxes of both, without those that another one of their class covers."""
    boxes, scores, labels = (torch.cat((first[name], second[name])) for name in ("boxes", "scores", "labels"))
    kept = batched_nms(boxes, scores, labels, overlap)[: DetectorConfig.max_detections]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


def together(first: Scored, second: Scored, overlap: float) -> dict[str, Scored]:
    """Both rows joined, and the better of both in each picture."""
    ranks = [_ranks(one) for one in (first, second)]
    made = {name: DetectionMetrics(first.metrics.class_names) for name in ("joined", "oracle")}
    for key, (found, wanted) in first.report.images.items():
        found_too, _ = second.report.images[key]
        better = found if ranks[0][key] >= ranks[1][key] else found_too
        for name, boxes in (("joined", joined(found, found_too, overlap)), ("oracle", better)):
            made[name].update([boxes], [wanted], [key[0]], [key[1]])
    return {name: Scored(metrics) for name, metrics in made.items()}


def _ranks(row: Scored) -> dict[Key, float]:
    """The F1 of each picture at the row's own best threshold."""
    return {key: _f1(found, row.report.overall.threshold) for key, found in row.matches.items()}


def _f1(found: Matches, threshold: float) -> float:
    right = int((found.right & (found.scores >= threshold)).sum())
    every = int((found.scores >= threshold).sum()) + len(found.objects)
    return 2 * right / every if every else 1.0


def table(rows: Mapping[str, Scored], reference: str) -> list[Row]:
    """Scores of each row, and p beside the reference."""
    found: list[Row] = []
    for name, row in rows.items():
        scores, classes = row.report.overall, row.metrics.class_names
        mine, other = ([each.matches[key] for key in rows[reference].matches] for each in (row, rows[reference]))
        p = exchange_test([mine], [other], len(classes))[0] if name != reference else None
        shown = {"row": name, "pictures": str(scores.images), "AP50": f"{scores.map50:.3f}"}
        shown |= {"p": "" if p is None else f"{p:.3f}", "AP50-95": f"{scores.map50_95:.3f}"}
        shown |= {f"AP50 {label}": f"{scores.classes[label].ap50:.3f}" for label in classes}
        found.append(shown | {"precision": f"{scores.precision:.3f}", "recall": f"{scores.recall:.3f}"})
    return found


def read(study: Path, names: Sequence[str]) -> dict[str, Scored]:
    """What rows found in all pictures of their folds.

    Raises:
        SystemExit: If the study has no finished run of one, or rows were not tested on the same pictures.
    """
    rows = {name: Scored(_read(study, name)) for name in names}
    wanted = rows[names[0]].matches.keys()
    for name, row in rows.items():
        if row.matches.keys() != wanted:
            found = f"{name} has {len(row.matches)} pictures, {names[0]} {len(wanted)}"
            raise SystemExit(f"error: '{study}': {found}. Run the study to its end, or leave out a row.")
    return rows


def _read(study: Path, row: str) -> DetectionMetrics:
    runs = [run for run in read_record(study) if run.row == row and run.state == "finished"]
    if not runs:
        raise SystemExit(f"error: '{study}' has no finished run of {row}.")
    seed = min(run.seed for run in runs)
    return read_metrics(
        [study / each / f"detection{PER_IMAGE}" for run in runs if run.seed == seed for each in run.tables]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="The folder of a study that was run.")
    parser.add_argument("--rows", nargs=2, default=["infrared", "visible"])
    parser.add_argument("--beside", nargs="*", default=["separate", "value_function"])
    parser.add_argument("--overlap", type=float, default=0.6)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine = describe_machine(1)
    read_rows = read(given.study, [*given.rows, *given.beside])
    first, second = (read_rows.pop(name) for name in given.rows)
    rows = dict(zip(given.rows, (first, second), strict=True)) | together(first, second, given.overlap) | read_rows
    found = table(rows, given.rows[0])
    show("merged_boxes", found)
    asked = f"--rows {' '.join(given.rows)} --beside {' '.join(given.beside)} --overlap {given.overlap}"
    command = f"python benchmarks/merged_boxes.py --study runs/studies/{given.study.name} {asked}"
    text = heading("merged_boxes", "Two detectors together", machine, command)
    write(given.output, "merged_boxes", text + markdown(found), {"merged_boxes": found})


if __name__ == "__main__":
    main()
