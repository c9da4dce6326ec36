"""What benchmarks make of their rows: a printed table, and one in Markdown and CSV that says how it was measured."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

Row = dict[str, str]
"""Column -> text; every row of a table has the same columns."""

GPU_SECTION: Final = "<!-- rows of a GPU, written by scripts/gpu_check.sh -->\n"
"""Starts the last part of a page, which stays when the rest of it is measured anew on a machine without a GPU."""


def describe_machine(threads: int) -> str:
    """One line on what ran where."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.split(":")[1].strip()
            for line in information.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    load = (
        f", load average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores at the start" if os.name == "posix" else ""
    )
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}, {threads} threads{gpu}; torch {torch.__version__}, Python {platform.python_version()}{load}"


def show(title: str, rows: list[Row]) -> None:
    """Prints rows as a table."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right" if name not in ("device", "task", "variant", "encoder") else "left")
    for row in rows:
        table.add_row(*row.values())
    Console(width=max(Console().width, 130)).print(table)


def markdown(rows: list[Row]) -> str:
    """Rows as a Markdown table."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([row[name] for name in header] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def heading(script: str, title: str, machine: str, command: str | None = None) -> str:
    """Title, command, day and machine: where the figures of a result file come from.

    Args:
        script: Name of the benchmark, without folder and ending.
        title: Of the file.
        machine: From `describe_machine`, asked before anything was measured.
        command: What was run, where the arguments of this process hold paths that say nothing elsewhere.
    """
    command = command or " ".join(["python", f"benchmarks/{script}.py", *sys.argv[1:]])
    return f"# {title}\n\n`{command}`, {datetime.now(UTC):%Y-%m-%d}. {machine}.\n\n"


def write(folder: Path, name: str, text: str, tables: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Writes `NAME.md`, whose GPU section stays, and a CSV file for each table.

    Args:
        folder: Made if it is missing.
        name: Of the Markdown file.
        text: Its contents.
        tables: Name of a CSV file, without ending -> its rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.md"
    _, mark, section = _cut(page)
    page.write_text(f"{text.rstrip()}\n\n{mark}{section}" if mark else text, encoding="utf-8")
    for own, rows in tables.items():
        pd.DataFrame(list(rows)).to_csv(folder / f"{own}.csv", index=False)


def write_gpu_section(folder: Path, name: str, text: str) -> None:
    """Puts a GPU's rows at the end of `NAME.md`, in the place of those that it has.

    Args:
        folder: Made if it is missing.
        name: Of the page; without one the section stands alone.
        text: Heading and table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.md"
    rest, _, _ = _cut(page)
    page.write_text(f"{rest.rstrip()}\n\n{GPU_SECTION}{text}".lstrip(), encoding="utf-8")


def _cut(page: Path) -> tuple[str, str, str]:
    """What a page says of other machines, the mark, and its GPU section."""
    return (page.read_text(encoding="utf-8") if page.exists() else "").partition(GPU_SECTION)
