"""`ivif report run`: a run as one HTML page that needs nothing else: curves, panels, tables, configuration."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml

from ivif.callbacks.dashboards import read_records
from ivif.callbacks.tables import SHARES, marked_means
from ivif.commands.errors import UsageError
from ivif.commands.report import charts
from ivif.commands.report.charts import short
from ivif.commands.report.files import MARK, refuse_others, refuse_picture, save_figure, take_picture
from ivif.commands.report.page_parts import history, newest_panels, template
from ivif.commands.report.sections import progress, sections
from ivif.contracts.run_files import CONFIG, ENVIRONMENT, LOG
from ivif.files.inside import read_inside, refuse_links_out
from ivif.files.plain_yaml import parse_plain
from ivif.files.table_files import read_table
from ivif.files.text_output import terminal
from ivif.files.text_tables import TextTable
from ivif.files.whole import write_whole
from ivif.metrics.registry import METRICS, with_direction

MOST_ROWS: Final = 200
"""Rows of a per-image table."""


def report_run(
    folders: Sequence[Path],
    out: Path | None = None,
    picture: Path | None = None,
    curves: Path | None = None,
    metrics: Sequence[str] = charts.METRICS,
    overwrite: bool = False,
) -> int:
    """Writes the page.

    Args:
        folders: A run folder of `fit`, or of `test`; then those of runs of `test` whose tables and panels belong here
            too.
        out: The file to write; `report.html` in the first folder by default.
        picture: A PNG or JPEG of the beginning of the page, where a headless browser is installed.
        curves: A figure of the training loss and the validation metrics.
        metrics: Metrics of that figure, where they were logged.
        overwrite: Whether these files may be replaced if they are no reports.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If there is no such folder, nothing in it to report or to draw, no browser for a picture, or one of
            the files is another one.
        OutsideFileError: If something in one of the folders is a link out of it.
        UnreadableFileError: If a panel is no picture.
    """
    run = folders[0]
    out = out or run / "report.html"
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"'{folder}' is no folder. Give the folder of a run, such as runs/quickstart/latest.")
        refuse_links_out(folder)
    refuse_others([path for path in (out, picture, curves) if path], overwrite)
    log = charts.read_log(run) if curves or (run / LOG).is_file() else pd.DataFrame({"step": []})
    if picture is not None:
        refuse_picture(picture)
    figure, page = charts.draw_curves(log, metrics) if curves else None, _page(folders, log)
    if curves and figure is not None:
        save_figure(figure, curves, dpi=110)
        print(f"Curves: {curves}")
    write_whole(out, terminal(page))  # whatever else a name may hold
    print(f"Report: {out} ({out.stat().st_size / 2**20:.1f} MB, opens in any browser)")
    if picture is not None:
        take_picture(out, picture)
        print(f"Picture: {picture}")
    return 0


def _page(folders: Sequence[Path], log: pd.DataFrame) -> str:
    run = folders[0]
    whose = {folder: f" in {_run_name(folder)}" if len(folders) > 1 else "" for folder in folders}
    tables = [table for folder in folders for table in _tables(folder, whose[folder])]
    if not (run / LOG).is_file() and not tables:
        raise UsageError(f"'{run}' holds no metrics.csv and no tables/. Give the folder of a run.")
    return template("report_run.html").render(
        mark=MARK,
        title=_run_name(run),
        facts=_facts(run, log),
        progress=progress(log),
        sections=sections(log),
        tables=tables,
        per_image=[table for folder in folders for table in _per_image(folder, whose[folder])],
        panels=[picture for folder in folders for picture in newest_panels(folder)],
        history=history(run),
        records=_records(run),
        area={
            "width": charts.WIDTH,
            "height": charts.HEIGHT,
            "left": charts.LEFT,
            "right": charts.WIDTH - charts.RIGHT,
            "top": charts.TOP,
        },
    )


def _facts(run: Path, log: pd.DataFrame) -> list[tuple[str, str]]:
    """What ran, in a few words."""
    config, environment = _yaml(run / CONFIG), _json(run / ENVIRONMENT)
    parts = [(name, str(config.get(name, {}).get("class_path", "")).rpartition(".")[2]) for name in ("model", "data")]
    facts = [(name, found) for name, found in parts if found]
    if len(log):
        facts.append(("steps", short(float(log["step"].max()) + 1)))
    if "epoch" in log:
        facts.append(("epochs", short(float(log["epoch"].max()) + 1)))
    facts += [(name, str(environment[name])) for name in ("commit", "python") if name in environment]
    packages = environment.get("packages", {})
    return facts + [(name, str(packages[name])) for name in ("torch", "lightning") if name in packages]


def _run_name(folder: Path) -> str:
    return f"{folder.resolve().parent.name} · {folder.resolve().name}"


def _tables(folder: Path, whose: str) -> list[TextTable]:
    found = []
    for path in sorted((folder / "tables").glob("*.csv")):
        rows = read_table(path)
        if path.stem.endswith("per_image") or not {"dataset", "method"} <= set(rows.columns):
            continue
        heads = [name for name in ("method", "class") if name in rows]
        hidden = ("dataset", "convention", *(f"n_{metric}" for metric in METRICS))
        columns = [name for name in rows.columns if name not in (*heads, *hidden)]
        titles = [*heads, *(_column(name) for name in columns)]
        for dataset, own in rows.groupby("dataset", sort=False):
            records = own.to_dict("records")
            shown = [
                marked_means(records, name) if name in METRICS else [_cell(row[name]) for row in records]
                for name in (*heads, *columns)
            ]
            convention = f", convention {own['convention'].iloc[0]}" if "convention" in own else ""
            kind = path.stem.replace("_", " ").capitalize()
            cells = list(map(list, zip(*shown, strict=True)))
            found.append(TextTable(titles, cells, f"{kind}: {dataset}{convention}{whose}", len(heads)))
    return found


def _per_image(folder: Path, whose: str) -> list[TextTable]:
    found = []
    for path in sorted((folder / "tables").glob("*per_image.csv")):
        rows = read_table(path)
        own = rows[rows["method"] == rows["method"].iloc[0]] if len(rows) else rows
        cells = [[_cell(value) for value in row] for row in own.head(MOST_ROWS).itertuples(index=False)]
        left = f"; the first {MOST_ROWS} of {len(own)}, all are in {path.name}" if len(own) > MOST_ROWS else ""
        caption = f"{own['method'].iloc[0]} on each image{whose}{left}" if len(own) else path.stem
        found.append(TextTable([_column(str(name)) for name in own.columns], cells, caption, 3))
    return found


def _column(name: str) -> str:
    return with_direction(name) if name in METRICS else SHARES.get(name, name)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value)


def _records(run: Path) -> list[tuple[str, str]]:
    """Configuration, environment and splits as texts, by file name."""
    return [(str(name), content.decode(errors="replace")) for name, content in read_records(run)]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(parse_plain(read_inside(path, path.parent).decode("utf-8-sig"))) if path.is_file() else {}
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise UsageError(f"'{path}' is no configuration: {error}.") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_inside(path, path.parent))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise UsageError(f"'{path}' is no record of a run: {error}.") from error
