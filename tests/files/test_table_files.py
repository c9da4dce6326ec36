"""Result tables on disk: names come back letter for letter, and a file is never left half written."""

from pathlib import Path

import pandas as pd
import pytest

from ivif.files.table_files import Best, Second, TextTable, read_table, write_table
from tests.disks import full_disk

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
