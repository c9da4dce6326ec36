"""The pages of a GPU check, made of what `gpu_check.json` holds: one of its own, and GPU sections of two others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mgfusion import network_rows
from benchmarks.mgfusion_case import Case, Measurement
from benchmarks.tables import Row, markdown, write, write_gpu_section

CHECKED = ("training", "memory", "determinism", "waits")
"""Parts whose rows stand on the check's own page."""


def write_pages(document: Mapping[str, Any], folder: Path) -> None:
    """Writes gpu_check.md, and the GPU sections of mgfusion.md and metrics.md where there are rows.

    Args:
        document: What `gpu_check.json` holds.
        folder: Where the pages are.
    """
    parts = document["parts"]
    text = f"# One check of a GPU\n\n{_origin(document)}\n\n## Parts\n\n{markdown(_states(parts))}"
    for name in CHECKED:
        rows = _columns([_shown(row) for row in parts.get(name, {}).get("rows", [])])
        text += f"\n## {name.capitalize()}\n\n{markdown(rows)}" if rows else ""
    missing = [f"- {name}: {line}\n" for name, part in parts.items() for line in without_row(part)]
    text += "\n## Failed or left out\n\n" + "".join(missing) if missing else ""
    write(folder, "gpu_check", text, {})
    measured = [row for name in ("networks", "compiled") for row in parts.get(name, {}).get("rows", [])]
    if measured:
        about = "The three bases, batch 1; the anchor is `published`, blocks as Restormer published them."
        write_gpu_section(folder, "mgfusion", _section(document, about, _networks(measured)))
    scored = [_shown(row) for row in parts.get("metrics", {}).get("rows", [])]
    if scored:
        about = "Milliseconds per 480x640 triplet; `difference` is the relative one to the CPU's value."
        write_gpu_section(folder, "metrics", _section(document, about, _columns(scored)))


def without_row(part: Mapping[str, Any]) -> list[str]:
    """What failed, and what was left out for the same reason in one line."""
    lines = [f"failed: {own['case']}: {own['reason']}" for own in part["failed"]]
    for reason in dict.fromkeys(own["reason"] for own in part["left_out"]):
        cases = [own["case"] for own in part["left_out"] if own["reason"] == reason]
        lines.append(f"left out, {reason} ({len(cases)}): {'; '.join(cases)}")
    return lines


def _origin(document: Mapping[str, Any]) -> str:
    word = " A rehearsal: no figure is a measurement." if document["rehearsal"] else ""
    return f"`{document['command']}`, {document['date']}. {document['machine']}. Float32: {document['float32']}.{word}"


def _section(document: Mapping[str, Any], about: str, rows: Sequence[Row]) -> str:
    return f"## On a GPU\n\n{_origin(document)}\n\n{about}\n\n{markdown(list(rows))}"


def _states(parts: Mapping[str, Any]) -> list[Row]:
    return [
        {
            "part": name,
            "state": part["state"],
            "rows": str(len(part["rows"])),
            "failed": str(len(part["failed"])),
            "left out": str(len(part["left_out"])),
            "seconds": str(part["seconds"]),
            "limit": str(part["limit"]),
        }
        for name, part in parts.items()
    ]


def _networks(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    results = {
        Case(**row["measured"]): Measurement(row["seconds"], peak=row["peak"], before=row["before"]) for row in rows
    }
    return network_rows(results)


def _shown(row: Mapping[str, Any]) -> Row:
    return {
        key: "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        for key, value in row.items()
        if not isinstance(value, Mapping)
    }


def _columns(rows: Sequence[Row]) -> list[Row]:
    """Every row with the columns of all of them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]
