"""The papers' printed tables: that every one is there, and that its numbers are those that are printed."""

from pathlib import Path

import pytest

from ivif.commands.errors import UsageError
from ivif.commands.study.published import published_names, read_published
from ivif.metrics import METRICS
from ivif.metrics.conventions import CONVENTIONS

TABLES = {
    "mgfusion": {
        (1, "llvip"): 7,
        (1, "m3fd_fusion"): 7,
        (2, "msrs"): 7,
        (2, "roadscene"): 7,
        (3, "tno"): 7,
        (4, "msrs"): 4,
    },
    "text_to_pixels": {
        (1, "m3fd"): 10,
        (2, "m3fd_fusion"): 4,
        (2, "roadscene"): 4,
        (2, "tno"): 4,
        (3, "m3fd"): 3,
    },
}
"""Paper -> (table, dataset) -> rows."""

SUMS = {
    ("mgfusion", 1, "llvip"): (2.9874, 4059.09, 8.9745, 21.3665, 2.3303, 8.1928),
    ("mgfusion", 1, "m3fd_fusion"): (3.5329, 4360.81, 9.1957, 32.4374, 2.3710, 9.4032),
    ("mgfusion", 2, "msrs"): (3.2220, 4873.25, 8.9526, 20.0100, 2.2801, 9.5433),
    ("mgfusion", 2, "roadscene"): (3.1139, 4857.40, 8.8736, 32.9404, 2.4256, 8.7408),
    ("mgfusion", 3, "tno"): (2.9704, 4384.54, 9.3186, 27.7028, 2.7935, 9.6721),
    ("mgfusion", 4, "msrs"): (2.5657, 1361.27, 5.5018, 14.0611, 1.7908, 7.1024),
    ("text_to_pixels", 1, "m3fd"): (2.840, 6.867, 4.565, 3.216, 3.646, 5.192, 4.321),
    ("text_to_pixels", 2, "m3fd_fusion"): (55.627, 29.056, 186.155, 17.411),
    ("text_to_pixels", 2, "roadscene"): (55.923, 29.553, 201.212, 21.038),
    ("text_to_pixels", 2, "tno"): (55.050, 28.455, 211.426, 22.499),
    ("text_to_pixels", 3, "m3fd"): (0.965, 2.053, 1.399, 1.080, 1.129, 1.670, 1.362),
}
"""The sum of each column, added up from the papers a second time."""


def test_every_table_of_every_paper_is_there() -> None:
    assert published_names() == sorted(TABLES)
    for paper, expected in TABLES.items():
        found = read_published([paper])
        assert {(table.table, table.dataset): len(table.rows) for table in found} == expected


@pytest.mark.parametrize("place", SUMS, ids=str)
def test_columns_add_up_to_what_is_printed(place: tuple[str, int, str]) -> None:
    paper, number, dataset = place
    (table,) = [each for each in read_published([paper]) if (each.table, each.dataset) == (number, dataset)]
    sums = [sum(map(float, column)) for column in zip(*table.rows.values(), strict=True)]
    assert sums == pytest.approx(SUMS[place], abs=1e-6)


def test_single_numbers_are_digit_for_digit_and_say_where_they_are_printed() -> None:
    table = read_published(["mgfusion"])[3]
    assert table.rows["CHITNet"] == ("0.4906", "881.26", "1.4049", "5.1939", "0.3452", "1.5075")
    assert table.source.endswith("doi 10.3389/fnbot.2024.1521603")
    assert (table.said, table.images) == ("Yang et al. 2024, table 2", 20)
    first, second = read_published(["text_to_pixels"])[:2]
    assert first.rows["U2Fusion"] == ("0.312", "0.724", "0.475", "0.352", "0.392", "0.534", "0.465")
    assert first.columns == ("Lamp", "Car", "Bus", "Motorcycle", "Truck", "People", "mean")
    assert first.said.endswith("table 1")
    assert second.rows["M4 (both)"] == ("14.188", "7.413", "47.126", "4.406")


def test_what_the_text_says_of_the_numbers_holds() -> None:
    # "our method ranks first" in Qabf and Qcv on these four
    for table in read_published(["mgfusion"])[:4]:
        edges, chen = ({name: float(row[index]) for name, row in table.rows.items()} for index in (0, 1))
        assert max(edges, key=lambda name: edges[name]) == "MGFusion"
        assert min(chen, key=lambda name: chen[name]) == "MGFusion"


def test_columns_conventions_and_metrics_are_ours() -> None:
    for table in read_published(published_names()):
        assert table.convention in CONVENTIONS
        assert "mean" in table.columns or set(table.columns) <= set(METRICS)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no published rows 'seafusion'\. There are mgfusion, text_to_pixels"):
        read_published(["seafusion"])
    path = tmp_path / "own.yaml"
    head = (
        "source: me\ncited: me\nconvention: standard\ntables:\n  - {table: 1, dataset: tno, columns: EN SD, rows: {A: "
    )
    path.write_text(f"{head}1.0 2.0}}}}\n")
    assert read_published([str(path)])[0].rows == {"A": ("1.0", "2.0")}
    for wrong, why in (("1.0", "A has 1 numbers for 2 columns"), ("1.0 x", "could not convert")):
        path.write_text(f"{head}{wrong}}}}}\n")
        with pytest.raises(UsageError, match=f"own.yaml' is no list of published tables.*{why}"):
            read_published([str(path)])
