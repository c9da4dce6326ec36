"""`ivif data check`: opens every file of every stage, says what is there and what is wrong, draws a sheet."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset

from ivif.commands.data.contact_sheet import Entry, draw_contact_sheet, evenly
from ivif.commands.data.inspection import ImageReport, PairReport, PairSource, inspect
from ivif.commands.data.polarity_hint import polarity_hint
from ivif.commands.report.files import MARK, refuse_others
from ivif.contracts.batch import Sample, Targets
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.plausibility import depth_findings, picture_findings
from ivif.datamodules.start_checks import files_of
from ivif.files.errors import DatasetError
from ivif.files.names import file_name
from ivif.files.text_output import cell
from ivif.files.text_tables import TextTable
from ivif.files.whole import write_whole

SHEET_PAIRS = 24
"""Pairs on a dataset's contact sheet; every stage has at least one."""


@dataclass(frozen=True)
class Inspected:
    """One dataset of one stage with the reports on its pairs."""

    stage: str
    dataset: PairSource
    pairs: Sequence[PairReport]

    @property
    def title(self) -> str:
        """`<stage> <dataset>`."""
        return f"{self.stage} {self.dataset.dataset_name}"


@dataclass
class Findings:
    """What a user should know: `problems` make the exit code 1, `notes` do not."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(
    stages: Mapping[str, Sequence[Dataset[Sample]]],
    out_dir: Path,
    console: Console | None = None,
    overwrite: bool = False,
) -> int:
    """Checks the datasets of all stages.

    Args:
        stages: Stage (`train`, `val`, `test`) -> its datasets.
        out_dir: Gets `report.txt` and `contact_sheet.png`; of several datasets `contact_sheet_<dataset>.png` each.
        console: Where to print; standard output by default.
        overwrite: Whether other files of these names may be replaced.

    Returns:
        0 if everything is fine; 1 if there is no pair, a file cannot be read or used, a label is of an unknown class, a
        file lacks its partner although the reader is strict, or training pairs appear in validation or test.

    Raises:
        UsageError: If other files have these names.
    """
    readers = cast("Mapping[str, Sequence[PairSource]]", stages)
    sheets = _sheets(readers, out_dir)
    refuse_others([out_dir / "report.txt", *sheets.values()], overwrite)
    console = console or Console()
    inspected = _inspect_all(readers, console)
    findings = find(inspected)
    report = Console(record=True, file=console.file, width=max(console.width, 100))
    pairs_table(inspected).show(report)
    if any(pair.targets is not None for entry in inspected for pair in entry.pairs):
        objects_table(inspected).show(report)
    for note in findings.notes:
        report.print(cell(f"note: {note}"), style="yellow", highlight=False, soft_wrap=True)
    for problem in findings.problems:
        report.print(cell(f"PROBLEM: {problem}"), style="red", highlight=False, soft_wrap=True)
    drawn = [
        str(path)
        for name, path in sheets.items()
        if _draw_sheet([entry for entry in inspected if entry.dataset.dataset_name == name], path)
    ]
    count = sum(len(entry.pairs) for entry in inspected)
    verdict = f"{len(findings.problems)} problem(s)" if findings.problems else "no problems"
    where = f"Contact sheet: {', '.join(drawn)}" if drawn else "No contact sheet: no pair could be read"
    report.print(cell(f"{count} pairs checked, {verdict}. {where}"), highlight=False, soft_wrap=True)
    write_whole(out_dir / "report.txt", f"{report.export_text()}{MARK}.\n")
    return 1 if findings.problems else 0


def find(inspected: Sequence[Inspected]) -> Findings:
    """Everything that is wrong or worth knowing, over all stages."""
    findings = Findings()
    if not any(entry.pairs for entry in inspected):
        findings.problems.append("There is no pair in any stage. Choose another manifest or root.")
    errors = [error for entry in inspected for pair in entry.pairs for error in pair.errors]
    findings.problems += dict.fromkeys(errors)
    for text, strict in _unmatched(inspected):
        (findings.problems if strict else findings.notes).append(text)
    for first, second in combinations(inspected, 2):
        _compare(first, second, findings)
    for entry in inspected:
        findings.notes += _within(entry)
    findings.problems += _without_boxes(inspected)
    return findings


def pairs_table(inspected: Iterable[Inspected]) -> TextTable:
    """Counts, sizes and kinds of image per stage and dataset."""
    rows = []
    for entry in inspected:
        infrared = [pair.infrared for pair in entry.pairs if not pair.infrared.error]
        visible = [pair.visible for pair in entry.pairs if not pair.visible.error]
        kinds = [_tally(image.kind for image in images) for images in (infrared, visible)]
        counts = (len(entry.pairs), sum(bool(pair.errors) for pair in entry.pairs))
        sizes = _sizes(image.size for image in visible)
        rows.append([entry.stage, entry.dataset.dataset_name, *map(str, counts), sizes, *kinds])
    columns = ("stage", "dataset", "pairs", "broken", "sizes (width x height)", "infrared", "visible")
    return TextTable(columns, rows, "Pairs", heads=2)


def objects_table(inspected: Iterable[Inspected]) -> TextTable:
    """Boxes per class name, the images that hold the class, and how large its objects are."""
    rows = []
    for entry in inspected:
        targets = [pair.targets for pair in entry.pairs if pair.targets is not None]
        if not targets:
            continue
        place = [entry.stage, entry.dataset.dataset_name]
        sides: dict[int, list[float]] = {index: [] for index in range(len(entry.dataset.classes))}
        images: Counter[int] = Counter()
        for one in targets:
            images.update(set(one["labels"].tolist()))
            for label, (left, top, right, bottom) in zip(one["labels"].tolist(), one["boxes"].tolist(), strict=True):
                sides.setdefault(label, []).append(((right - left) * (bottom - top)) ** 0.5)
        for label, of_class in sides.items():
            size = f"{median(of_class):.0f}" if of_class else ""
            rows.append([*place, entry.dataset.classes[label], str(len(of_class)), str(images[label]), size])
        rows.append([*place, "(no object)", "", str(sum(not len(one["labels"]) for one in targets)), ""])
    return TextTable(("stage", "dataset", "class", "boxes", "images", "median side (px)"), rows, "Objects", heads=3)


def _inspect_all(stages: Mapping[str, Sequence[PairSource]], console: Console) -> list[Inspected]:
    inspected = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for stage, datasets in stages.items():
            for dataset in datasets:
                bar = progress.add_task(escape(f"{stage} {dataset.dataset_name}"), total=len(dataset))
                inspected.append(Inspected(stage, dataset, list(_tracked(inspect(dataset), progress, bar))))
    return inspected


def _tracked(reports: Iterable[PairReport], progress: Progress, bar: TaskID) -> Iterator[PairReport]:
    for report in reports:
        progress.advance(bar)
        yield report


def _unmatched(inspected: Iterable[Inspected]) -> list[tuple[str, bool]]:
    """One text per file without a partner, and whether the reader is strict about it."""
    found: dict[str, bool] = {}
    for entry in inspected:
        files = files_of(entry.dataset)
        if files is None:
            continue
        strict = files.reading.strict
        found |= {f"'{path}' has no visible partner": strict for path in files.pairing.unmatched_infrared}
        found |= {f"'{path}' has no infrared partner": strict for path in files.pairing.unmatched_visible}
    return list(found.items())


def _compare(first: Inspected, second: Inspected, findings: Findings) -> None:
    """Identical images in two stages: leakage where one of them trains, worth a note otherwise."""
    if first.stage == second.stage:
        return
    theirs = dict(_images(second))
    shared = [(source, theirs[digest]) for digest, source in _images(first) if digest in theirs]
    if not shared:
        return
    if "train" in (first.stage, second.stage):
        titles = f"{first.title} and {second.title}"
        findings.problems += [f"Leakage: one picture in {titles}: '{ours}' = '{other}'" for ours, other in shared]
    else:
        findings.notes.append(f"{first.title} and {second.title} share {len(shared)} images (some manifests mean it)")


def _within(entry: Inspected) -> list[str]:
    notes = []
    counts = Counter(digest for digest, _ in _images(entry))
    if repeated := sum(count - 1 for count in counts.values()):
        notes.append(f"{entry.title} holds {repeated} image(s) more than once")
    readable = [pair for pair in entry.pairs if not pair.infrared.error and not pair.visible.error]
    if resized := sum(pair.infrared.size != pair.visible.size for pair in readable):
        notes.append(f"{entry.title}: infrared of {resized} pair(s) is resized to the visible image's size")
    files = files_of(entry.dataset)
    unlabelled = len(set(files.pairing.unlabelled) & set(files.names)) if files else 0
    if unlabelled:
        notes.append(f"{entry.title}: {unlabelled} pair(s) have no label file")
    if files and files.reading.labels and files.label_places and not files.has_labels:
        notes.append(f"{entry.title}: no pair has a label file. {files.where_boxes_were_looked_for}")
    return notes + (_left_out(entry, files) if files else [])


def _without_boxes(inspected: Iterable[Inspected]) -> list[str]:
    """A text per dataset that has labels and, over all stages, not a single box."""
    counts: Counter[str] = Counter()
    for entry in inspected:
        targets = [pair.targets for pair in entry.pairs if pair.targets is not None]
        if targets:
            counts[entry.dataset.dataset_name] += sum(len(one["labels"]) for one in targets)
    return [
        f"{name} has label files, and no box in any of them is used: no detector can learn from it. Choose its labels, "
        f"its classes or reading.unknown_labels differently, or set reading.labels to false"
        for name, count in counts.items()
        if not count
    ]


def _left_out(entry: Inspected, files: PairedDataset) -> list[str]:
    """What the reader does not hand on, beside pairs: files of other endings, stray labels, boxes."""
    notes = [f"{entry.title}: {line}, left out" for line in files.pairing.describe_unused()]
    tally = files.label_reader.tally
    infrared = [pair.infrared.facts for pair in entry.pairs if pair.infrared.facts and pair.visible.facts]
    visible = [pair.visible.facts for pair in entry.pairs if pair.infrared.facts and pair.visible.facts]
    lines = tally.lines() + picture_findings(infrared, visible, files.reading) + polarity_hint(files)
    notes += [f"{entry.title}: {line}" for line in lines + depth_findings(tally.channels, infrared, visible)]
    if repeated := sum(_repeated_boxes(pair.targets) for pair in entry.pairs if pair.targets is not None):
        notes.append(f"{entry.title}: {repeated} box(es) stand twice in their label file")
    return notes


def _repeated_boxes(targets: Targets) -> int:
    rows = list(zip(targets["labels"].tolist(), map(tuple, targets["boxes"].tolist()), strict=True))
    return len(rows) - len(set(rows))


def _images(entry: Inspected) -> Iterator[tuple[str, str]]:
    reports: Iterator[ImageReport] = (image for pair in entry.pairs for image in (pair.infrared, pair.visible))
    return ((image.digest, image.source) for image in reports if image.digest)


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    counts = Counter(sizes)
    if len(counts) <= 2:
        return _tally(f"{width}x{height}" for height, width in counts.elements())
    heights, widths = [height for height, _ in counts], [width for _, width in counts]
    (common_height, common_width), count = counts.most_common(1)[0]
    return (
        f"{len(counts)} sizes, {min(widths)}..{max(widths)} x {min(heights)}..{max(heights)}; "
        f"{common_width}x{common_height}: {count}"
    )


def _tally(values: Iterable[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value}: {count}" for value, count in counts.most_common())


def _sheets(stages: Mapping[str, Sequence[PairSource]], out_dir: Path) -> dict[str, Path]:
    """Where the contact sheet of each dataset goes."""
    names = list(dict.fromkeys(reader.dataset_name for readers in stages.values() for reader in readers))
    if len(names) == 1:
        return {names[0]: out_dir / "contact_sheet.png"}
    return {name: out_dir / file_name(f"contact_sheet_{name}", ".png") for name in names}


def _draw_sheet(inspected: Sequence[Inspected], path: Path) -> bool:
    """Draws pairs of every stage, spread over each; whether there was one to draw."""
    filled = [entry for entry in inspected if entry.pairs]
    share = max(1, SHEET_PAIRS // max(1, len(filled)))
    entries = []
    for inspected_one in filled:
        usable = [index for index, pair in enumerate(inspected_one.pairs) if not pair.errors]
        for position in evenly(len(usable), share):
            try:
                sample = inspected_one.dataset[usable[position]]
            except DatasetError:
                continue
            caption = f"{inspected_one.title}/{sample['name']}"
            entries.append(Entry(caption, sample, inspected_one.dataset.classes))
    if entries:
        draw_contact_sheet(entries, path)
    return bool(entries)
