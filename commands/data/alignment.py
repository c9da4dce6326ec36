"""`ivif data check --alignment`: how far infrared lies from the visible picture in each pair, worst first."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal, cast

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset

from ivif.commands.data.alignment_sheet import Overlay, draw_alignment_sheet
from ivif.commands.data.contact_sheet import evenly
from ivif.commands.data.inspection import PairSource
from ivif.commands.data.register_planes import planes_of
from ivif.commands.program import program
from ivif.commands.report.files import refuse_others
from ivif.contracts.batch import Sample
from ivif.datamodules.start_checks import files_of
from ivif.files.errors import DatasetError
from ivif.files.table_files import write_table
from ivif.files.text_output import cell
from ivif.files.text_tables import TextTable
from ivif.machine.processors import usable_processors
from ivif.registration import Motion, Registration, RigError, common_transform, motion, register, stretch
from ivif.registration.geometry import Plane, Size

Verdict = Literal["moved", "unsure", "well"]
"""`data register` would warp it; nobody can tell; it would stay, as it lies well."""

TABLE: Final = "alignment.csv"
SHEET: Final = "alignment.png"
_SHOWN: Final = 20
"""Pairs of the printed table; the file has all."""

_PICTURED: Final = 12
_ORDER: Final[Mapping[Verdict, int]] = {"moved": 0, "unsure": 1, "well": 2}


@dataclass(frozen=True)
class Measured:
    """What was found for one pair.

    Args:
        dataset: Name of its dataset.
        name: Its own name.
        found: The estimate, and whether it is believed.
        moves: What the estimate does about the middle, in pixels of the visible picture; None where there is none.
        sizes: (height, width) of the infrared and of the visible picture.
        source: The dataset, and the pair's place in it.
    """

    dataset: str
    name: str
    found: Registration
    moves: Motion | None
    sizes: tuple[Size, Size]
    source: tuple[PairSource, int]

    @property
    def verdict(self) -> Verdict:
        """What `data register` would make of it."""
        if not self.found.refused:
            return "moved"
        return "well" if self.found.lies_well else "unsure"


def check_alignment(
    stages: Mapping[str, Sequence[Dataset[Sample]]],
    out_dir: Path,
    most: int | None = None,
    console: Console | None = None,
) -> list[Measured]:
    """Estimates how far the two pictures of each pair are apart, by what `data register` would do.

    Args:
        stages: Stage -> its datasets; a pair of several stages is looked at once.
        out_dir: Gets `alignment.csv`, a row for each pair, and `alignment.png`, overlays of the worst twelve.
        most: Pairs of each dataset, spread evenly; None: all.
        console: Where to print; standard output by default.

    Returns:
        The pairs, worst first: those that would be moved, by their shift, those that tell nothing, and the others.
    """
    console = console or Console()
    tasks = list(_distinct(cast("Mapping[str, Sequence[PairSource]]", stages), most))
    measured = sorted(_measure_all(tasks, console), key=lambda one: (_ORDER[one.verdict], -one.found.shift))
    if not measured:
        console.print("Alignment: no pair could be read.")
        return []
    write_table(pd.DataFrame([_numbers(one) for one in measured]), out_dir / TABLE)
    _draw(measured[:_PICTURED], out_dir / SHEET)
    table(measured[:_SHOWN]).show(console)
    for line in summary(measured):
        console.print(cell(line), highlight=False, soft_wrap=True)
    console.print(cell(f"All pairs: {out_dir / TABLE}. Overlays: {out_dir / SHEET}"), highlight=False, soft_wrap=True)
    return measured


def refuse_alignment_files(out_dir: Path, overwrite: bool) -> None:
    """Refuses, before anything is computed, to write over files of others.

    Raises:
        UsageError: If there are some.
    """
    refuse_others([out_dir / TABLE, out_dir / SHEET], overwrite)


def table(measured: Sequence[Measured]) -> TextTable:
    """A row for each pair."""
    columns = ("pair", "shift", "right", "down", "turn", "scale", "edges", "moved", "what register would do")
    rows = []
    for one in measured:
        numbers = _numbers(one)
        moves = [f"{numbers[key]:+.1f}" if one.moves else "" for key in ("right", "down", "turn_degrees")]
        scale = f"{numbers['scale']:.3f}" if one.moves else ""
        edges = [f"{value:.2f}" for value in (one.found.before, one.found.after)]
        shift = f"{one.found.shift:.1f}"
        rows.append([f"{one.dataset}/{one.name}", shift, *moves, scale, *edges, one.found.refused or "warp it"])
    return TextTable(columns, rows, "Alignment, worst first (pixels of the visible picture, degrees)")


def summary(measured: Sequence[Measured]) -> list[str]:
    """What all pairs together say, a line each."""
    groups = {verdict: [one for one in measured if one.verdict == verdict] for verdict in _ORDER}
    moved = groups["moved"]
    lines = [
        f"{len(measured)} pairs: {len(moved)} are shifted and would be warped, {len(groups['well'])} lie well, "
        f"{len(groups['unsure'])} tell nothing that could be believed."
    ]
    if moved:
        shift = median(one.found.shift for one in moved)
        lines.append(
            f"Those that are shifted are so by {shift:.1f} pixels in the median (mean of four corners): "
            f"{program()} data register{_rig(moved)}."
        )
    return lines


def _rig(moved: Sequence[Measured]) -> str:
    """What to add to the command where all pairs tell one transform."""
    if len({one.sizes for one in moved}) > 1:
        return ""
    try:
        common_transform([one.found for one in moved], moved[0].sizes[1])
    except RigError:
        return ""
    return " --rig true, as they tell one transform"


def _distinct(stages: Mapping[str, Sequence[PairSource]], most: int | None) -> Iterator[tuple[PairSource, int]]:
    seen = set()
    for dataset in (dataset for datasets in stages.values() for dataset in datasets):
        files = files_of(dataset)
        for index in evenly(len(dataset), len(dataset) if most is None else most):
            record = files and files.records[index]
            key = (record.infrared, record.visible) if record else (id(dataset), index)
            if key not in seen:
                seen.add(key)
                yield dataset, index


def _measure_all(tasks: Sequence[tuple[PairSource, int]], console: Console) -> list[Measured]:
    """What the tasks give, on all processors; pairs that cannot be read are left out, as the check has told them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = []
    with (
        Progress(*columns, console=console, transient=True) as progress,
        ThreadPoolExecutor(usable_processors()) as pool,
    ):
        bar = progress.add_task("alignment", total=len(tasks))
        for one in pool.map(_measure, tasks):
            progress.advance(bar)
            found += [one] if one else []
    return found


def _measure(task: tuple[PairSource, int]) -> Measured | None:
    dataset, index = task
    try:
        name, infrared, visible = planes_of(dataset, index)
    except DatasetError:
        return None
    sizes = (_size(infrared), _size(visible))
    found = register(infrared, visible)
    plain = stretch(sizes[1], sizes[0])
    moves = None if found.estimate is None else motion(np.linalg.inv(plain) @ found.estimate, sizes[1])
    return Measured(dataset.dataset_name, name, found, moves, sizes, task)


def _numbers(one: Measured) -> dict[str, str | float]:
    """A row of the file."""
    moves = one.moves or Motion(*[float("nan")] * 4)
    return {
        "dataset": one.dataset,
        "name": one.name,
        "shift": round(one.found.shift, 2),
        "right": round(moves.across, 2),
        "down": round(moves.down, 2),
        "turn_degrees": round(moves.degrees, 3),
        "scale": round(moves.scale, 4),
        "edges": round(one.found.before, 4),
        "edges_under_estimate": round(one.found.after, 4),
        "verdict": one.verdict,
        "reason": one.found.refused,
    }


def _draw(measured: Sequence[Measured], path: Path) -> None:
    overlays = []
    for one in measured:
        name, infrared, visible = planes_of(*one.source)
        moves = one.moves
        told = f"shift {one.found.shift:.1f} px"
        if moves:
            told += (
                f" (middle {moves.across:+.1f} right, {moves.down:+.1f} down), "
                f"turn {moves.degrees:+.1f} degrees, scale {moves.scale:.3f}"
            )
        lines = (f"{one.dataset}/{name}: {told}", one.found.refused or "believed: register would warp it")
        overlays.append(Overlay(lines, infrared, visible, one.found.estimate))
    draw_alignment_sheet(overlays, path)


def _size(plane: Plane) -> Size:
    return plane.shape[0], plane.shape[1]
