"""Result tables on disk: names come back letter for letter, and a file is never left half written."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from ivif.files.table_files import read_table, write_table
from ivif.files.text_tables import Best, Second, TextTable, mark_best, sizes_text
from tests.disks import full_disk
from tests.inputs import brings

NAMES = ["00000", "NA", "1e5", "null", "nan", "007.0", "FLIR_1"]


def test_texts_are_read_letter_for_letter_and_numbers_as_numbers(tmp_path: Path) -> None:
    values = [0.5, float("nan"), 2.0, 3.0, 4.0, 5.0, 6.0]
    table = pd.DataFrame({"method": "1", "dataset": "NA", "name": NAMES, "class": "None", "EN": values, "n": 3})
    for undefined in ("", "nan"):
        write_table(table, tmp_path / "tables" / "test.csv", undefined)
        found = read_table(tmp_path / "tables" / "test.csv")
        assert found["name"].tolist() == NAMES
        assert (found["method"][0], found["dataset"][0], found["class"][0]) == ("1", "NA", "None")
        assert found["EN"].isna().tolist() == [False, True, *[False] * 5]
        assert (found["EN"].sum(), found["n"].tolist()) == (20.5, [3] * 7)


def test_a_table_that_cannot_be_written_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test.csv"
    write_table(pd.DataFrame({"name": ["a"]}), path)
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_table(pd.DataFrame({"name": ["b", "c"]}), path)
    assert path.read_text(encoding="utf-8") == "name\na\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_reads_alike_in_markdown_and_latex() -> None:
    table = TextTable(["method", "EN ↑"], [["a|b_c", Best("7 ± 1 (1)")], ["[x", Second("6")], ["y", "5"]])
    assert table.markdown().splitlines() == [
        "| method | EN ↑ |",
        "| --- | --- |",
        "| a\\|b_c | **7 ± 1 (1)** |",
        "| \\[x | 6 |",
        "| y | 5 |",
    ]
    assert table.latex().splitlines() == [
        "\\begin{tabular}{lr}",
        "\\toprule",
        "method & EN $\\uparrow$ \\\\",
        "\\midrule",
        "a\\textbar{}b\\_c & \\textbf{7 $\\pm$ 1 (1)} \\\\",
        "{}[x & \\underline{6} \\\\",
        "y & 5 \\\\",
        "\\bottomrule",
        "\\end{tabular}",
    ]


METHODS = [f"method_with_a_long_name_{index}" for index in range(8)]


def _wide() -> TextTable:
    return TextTable(["metric", *METHODS], [["EN ↑", *map(str, range(7)), Best("7.5")]], "means")


@brings("tables", "a table wider than 80 columns, printed into a file or a pipe", "works", "it is printed in full")
def test_a_wide_table_is_printed_in_full_where_nobody_turns_lines() -> None:
    stream = io.StringIO()
    _wide().show(Console(file=stream, width=80))
    (head,) = [line for line in stream.getvalue().splitlines() if "metric" in line]
    assert [name for name in METHODS if name in head] == METHODS
    assert "7.5*" in stream.getvalue()
    assert "* best" in stream.getvalue()


@brings(
    "tables",
    "a table wider than the terminal",
    "works",
    "it is divided into several below each other, each with the names of its rows; no name is cut",
)
def test_a_wide_table_is_divided_on_a_terminal() -> None:
    stream = io.StringIO()
    _wide().show(Console(file=stream, width=80, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    heads = [line for line in lines if "metric" in line]
    assert [[name for name in METHODS if name in head] for head in heads] == [METHODS[i : i + 2] for i in (0, 2, 4, 6)]
    assert max(map(len, lines)) <= 80
    assert sum("EN ↑" in line for line in lines) == 4


def test_the_best_follows_the_direction_and_is_marked_twice_where_it_is_twice() -> None:
    nan = float("nan")
    for higher, best in ((True, [0, 3]), (False, [1])):
        cells = mark_best(list("abcde"), [2.0, 1.0, nan, 2.0, 1.5], higher)
        assert cells == list("abcde")
        assert [index for index, cell in enumerate(cells) if isinstance(cell, Best)] == best
    assert not any(isinstance(cell, Best) for cell in mark_best(["a", "b"], [1.0, nan], True))


def test_sizes_are_said_in_a_few_words() -> None:
    assert sizes_text([(640, 480)] * 3) == "640x480"
    assert sizes_text([(640, 480), (100, 200), (300, 90)]) == "3 sizes (100x200 to 640x480)"
    assert sizes_text([]) == "-"
