"""The HTML page of a run: what it shows is what the run logged, and it needs nothing from outside."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ivif.commands.errors import UsageError
from ivif.commands.report.charts import Chart, Series, read_log, short
from ivif.commands.report.command import main
from ivif.commands.report.sections import progress, sections
from ivif.files.errors import UnreadableFileError, UserError
from tests.inputs import brings
from tests.refusals import whole

STEPS = 40


def write_run(folder: Path) -> Path:
    """A run folder with two levels, one metric of each direction, a table, panels and records."""
    steps = np.arange(STEPS)
    log = pd.DataFrame(
        {
            "step": steps,
            "epoch": steps // 20,
            "train/loss": 1 / (1 + steps),
            "train/lower/loss": 0.5 / (1 + steps),
            "train/lower/content": 0.4 / (1 + steps),
            "train/lower/codebook": 0.1 / (1 + steps),
            "train/lower/learning_rate": 1e-4,
            "train/upper/loss": 2.0 - steps / 40,
            "train/upper/gradient_norm": 3.0,
            "train/bilevel/penalty_weight": 0.25,
            "train/codebook/perplexity": 100.0 + steps,
            "perf/data_share": 0.125,
            "perf/peak_memory_gb": 1.5,
            "val/Qabf": np.where(steps % 10 == 9, 0.3 + steps / 100, np.nan),
            "val/Qcv": np.where(steps % 10 == 9, 500.0 + (steps - 19) ** 2, np.nan),
        }
    )
    folder.mkdir(parents=True)
    log.to_csv(folder / "metrics.csv", index=False)
    (folder / "config.yaml").write_text("run_name: <script>alert(1)</script>\nmodel:\n  class_path: a.b.MGFusionTask\n")
    (folder / "environment.json").write_text('{"commit": "abc123", "packages": {"torch": "2.15.0"}}\n')
    for step in (10, 20, 30):
        where = folder / "panels" / "val" / f"step{step:07d}"
        where.mkdir(parents=True)
        Image.new("RGB", (300, 100), (step, 80, 160)).save(where / "made_0001.png")
    (folder / "tables").mkdir()
    row = {"dataset": "made", "method": "MGFusion", "Qabf": 0.5, "Qcv": 321.0, "n": 4, "undefined": 1, "n_Qabf": 4}
    pd.DataFrame([row, row | {"method": "average", "Qabf": float("nan")}]).assign(convention="standard").to_csv(
        folder / "tables" / "test.csv", index=False
    )
    images = [{"method": "MGFusion", "dataset": "made", "name": f"{n:04d}", "Qabf": n / 8} for n in range(4)]
    pd.DataFrame([*images, images[0] | {"method": "average"}]).to_csv(
        folder / "tables" / "test_per_image.csv", index=False
    )
    return folder


class _Page(HTMLParser):
    """Elements with their attributes, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = write_run(tmp_path_factory.mktemp("runs") / "made" / "20260101-120000-ab12")
    assert main(["run", str(run)]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(text: str) -> None:
    page = _Page(text)
    assert {name for name, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object"})
    sources = [own.get(key, "") for _, own in page.elements for key in ("src", "href", "srcset", "data") if key in own]
    assert sources
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"base64,[^\"]*", "", text))


def test_whoever_cannot_see_finds_their_way(text: str) -> None:
    page = _Page(text)
    assert [own["lang"] for own in page.all("html")] == ["en"]
    names = [own["id"] for _, own in page.elements if "id" in own]
    assert len(names) == len(set(names))
    referred = [own[key] for _, own in page.elements for key in ("aria-labelledby",) if key in own]
    referred += [own["href"][1:] for own in page.all("a")]
    assert set(referred) <= set(names)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(own["alt"] and own["width"] and own["height"] for own in page.all("img"))
    assert all(own.get("scope") in ("row", "col") for own in page.all("th"))
    assert all(own.get("aria-label") for own in page.all("table"))
    assert all(own.get("role") == "img" or own.get("aria-hidden") == "true" for own in page.all("svg"))


def test_what_a_user_wrote_stays_text(text: str) -> None:
    assert "<script>" not in text
    assert "run_name: <script>alert(1)</script>" in "\n".join(_Page(text).texts)


def test_tables_show_the_files_with_directions(text: str) -> None:
    texts = _Page(text).texts
    start = texts.index("Test: made, convention standard")
    assert texts[start + 1 : start + 6] == ["method", "Qabf ↑", "Qcv ↓", "n", "undefined"]
    assert texts[start + 6 : start + 16] == [
        *("MGFusion", "0.5000", "321.0000", "4", "1"),
        *("average", "-", "321.0000", "4", "1"),
    ]
    start = texts.index("MGFusion on each image") + 1  # once as the summary, once as the caption
    assert texts[start + 1 : start + 9] == ["method", "dataset", "name", "Qabf ↑", "MGFusion", "made", "0000", "0.0000"]


@brings(
    "tables",
    "run folders given to `report run`, of several tests too",
    "works",
    "the page's tables say of which run they are, with images and sizes where the run noted them, the best bold",
)
def test_tables_mark_the_best_and_say_images_and_size(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    shared = {"dataset": "made", "n": 4, "size": "32x24", "convention": "standard"}
    rows = [("mine", 0.5, 9.0, 4), ("other", 0.25, 3.0, 4), ("third", 0.75, 3.00004, 3)]
    pd.DataFrame([shared | dict(zip(("method", "Qabf", "Qcv", "n_Qabf"), row, strict=True)) for row in rows]).to_csv(
        run / "tables" / "test.csv", index=False
    )
    assert main(["run", str(run)]) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    assert re.findall("<b>([0-9.]+)</b></td>", text) == ["0.5000", "3.0000", "3.0000"]
    assert text.count("<td>32x24</td>") == 3
    assert "0.7500 (n=3)" in text


@brings(
    "options", "`report run` on a run with several datasets", "works", "as many panels of each, and the course of each"
)
def test_panels_are_grouped_by_dataset(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for step in (10, 20, 30):
        where = run / "panels" / "val" / f"step{step:07d}"
        (where / "made_0001.png").unlink()
        for dataset, count in (("first", 9), ("second", 2)):
            for folder in (where / dataset, where / "fused" / dataset):
                folder.mkdir(parents=True)
                for number in range(count):
                    Image.new("RGB", (30, 10)).save(folder / f"{number:04d}.png")
    page = _Page(_written(run))
    captions = [alt.partition(":")[2] or alt for alt in (own["alt"] for own in page.all("img"))]
    shown = [caption.partition(": infrared")[0].strip() for caption in captions]
    newest = [*(f"first {number:04d}" for number in range(4)), "second 0000", "second 0001"]
    assert [one for one in shown if not one.startswith("infrared")][:6] == newest
    course = [own["alt"].partition(":")[0] for own in page.all("img")][6:]
    assert course == [f"{name} 0000 after {step} steps" for name in ("first", "second") for step in (10, 20)]


def _written(run: Path) -> str:
    assert main(["run", str(run)]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_panels_are_the_newest_and_those_before(text: str) -> None:
    page = _Page(text)
    shown = [Image.open(io.BytesIO(base64.b64decode(own["src"].partition(",")[2]))) for own in page.all("img")]
    reds = [np.asarray(picture)[50, 50, 0] for picture in shown]
    assert reds == pytest.approx([30, 10, 20], abs=3)
    assert page.all("img")[0]["alt"].startswith("validation after 30 steps: made 0001")


def test_sections_group_what_was_logged(tmp_path: Path) -> None:
    found = {section.anchor: section for section in sections(read_log(write_run(tmp_path / "run")))}
    titles = {anchor: [chart.title for chart in section.charts] for anchor, section in found.items()}
    assert titles == {
        "validation": ["Qabf ↑", "Qcv ↓"],
        "training": ["Loss ↓"],
        "lower": ["Loss ↓", "Terms ↓", "Learning rate"],
        "upper": ["Loss ↓", "Gradient norm"],
        "bilevel": ["Penalty weight"],
        "codebook": ["Perplexity"],
        "performance": ["Waiting for data ↓", "Peak memory ↓"],
    }
    assert [series.name for series in found["lower"].charts[1].series] == ["content", "codebook"]
    assert found["performance"].charts[0].series[0].last == 12.5
    assert found["performance"].charts[0].note == "% of the time"


def test_learning_rates_of_groups_share_a_chart() -> None:
    log = pd.DataFrame({"step": [0, 1], "train/learning_rate/pg1": [1.0, 2.0], "train/learning_rate/pg2": [1.0, 3.0]})
    (section,) = sections(log)
    assert [(chart.title, [s.name for s in chart.series]) for chart in section.charts] == [
        ("Learning rate", ["learning rate/pg1", "learning rate/pg2"])
    ]


def test_the_best_value_follows_the_metric_s_direction(tmp_path: Path) -> None:
    rows = {row.title: row for row in progress(read_log(write_run(tmp_path / "run")))}
    assert (rows["Qabf ↑"].first, rows["Qabf ↑"].best, rows["Qabf ↑"].best_step) == ("0.39", "0.69", "40")
    assert (rows["Qcv ↓"].best, rows["Qcv ↓"].best_step, rows["Qcv ↓"].last) == ("500", "20", "900")


def test_lines_lie_where_their_values_are() -> None:
    chart = Chart("made", [Series("a", [0, 5, 10], [0.0, 1.0, 2.0])])
    places = [tuple(map(float, point.split(","))) for point in chart.lines[0].points.split()]
    ticks = {tick.label: tick.position for tick in chart.y_ticks}
    assert [y for _, y in places] == [ticks["0"], (ticks["0"] + ticks["2.0"]) / 2, ticks["2.0"]]
    across = {tick.label: tick.position for tick in chart.x_ticks}
    assert [places[0][0], places[2][0]] == [across["0"], across["10"]]
    assert ticks["0"] > ticks["2.0"]  # up is smaller on a screen


def test_values_of_several_magnitudes_get_a_logarithmic_axis() -> None:
    chart = Chart("made", [Series("a", [0, 1, 2], [1e-3, 1e-1, 10.0])])
    low, middle, high = (float(point.split(",")[1]) for point in chart.lines[0].points.split())
    assert chart.logarithmic
    assert low - middle == pytest.approx(middle - high, abs=0.2)
    assert not Chart("made", [Series("a", [0, 1], [-1.0, 1000.0])]).logarithmic


@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0], [-2.0, -2.0], [5.0], [1e-30, 1e-30]])
def test_a_line_without_extent_is_drawn_inside(values: list[float]) -> None:
    chart = Chart("made", [Series("a", list(range(len(values))), values)])
    places = [float(part) for point in chart.lines[0].points.split() for part in point.split(",")]
    assert all(0 < place < 460 for place in places)


def test_long_curves_are_averaged_to_their_mean() -> None:
    values = [float(n % 2) for n in range(3000)]
    chart = Chart("made", [Series("a", list(range(3000)), values)])
    points = chart.lines[0].points.split()
    assert len(points) == 300
    assert chart.lines[0].last == "1"
    assert len({point.split(",")[1] for point in points}) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.5"), (0.00012, "1.2e-4"), (12345, "12 345"), (321.123, "321.1")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_the_tables_of_a_test_elsewhere_are_shown_too(tmp_path: Path) -> None:
    run, tested = write_run(tmp_path / "run"), write_run(tmp_path / "tested")
    out = tmp_path / "out" / "page.html"
    assert main(["run", str(run), str(tested), "--out", str(out)]) == 0
    texts = _Page(out.read_text(encoding="utf-8")).texts
    for name in ("run", "tested"):
        assert f"Test: made, convention standard in {tmp_path.name} · {name}" in texts


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.csv", "", "is no log"),
        ("metrics.csv", "a,b\n1,2\n", "no column 'step'"),
        ("config.yaml", "- [unclosed\n", "is no configuration"),
        ("environment.json", "{", "is no record"),
        ("panels/val/step0000030/made_0001.png", "text", "Cannot read"),
        ("config.yaml", f"a: &a [{'1, ' * 400}]\nb: [{'*a, ' * 400}]\n", "values by its aliases"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, content: str, message: str) -> None:
    run = write_run(tmp_path / "run")
    (run / file).write_text(content, encoding="utf-8")
    with pytest.raises((UsageError, UnreadableFileError), match=message) as refused:
        main(["run", str(run)])
    assert Path(file).name in str(refused.value)
    assert not (run / "report.html").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no metrics"):
        main(["run", str(tmp_path)])
    with pytest.raises(UsageError, match="is no folder"):
        main(["run", str(tmp_path / "missing")])


def test_ticks_can_be_told_apart() -> None:
    for values in ([1.4612, 1.4618], [0.0, 1e-4], [0.3, 0.9], [10.0, 5000.0, 90.0], [1.04e-5, 1e-3], [7.0, 900.0]):
        ticks = [tick.label for tick in Chart("made", [Series("a", list(range(len(values))), values)]).y_ticks]
        assert len(ticks) >= 3
        assert len(set(ticks)) == len(ticks)
        assert max(map(len, ticks)) <= 7


@brings(
    "options", "`report run` that is refused: no browser for --picture, a damaged panel", "refused", "writes nothing"
)
@pytest.mark.parametrize("fault", ["no browser", "no picture's ending", "a damaged panel", "nothing to draw"])
def test_a_refused_page_writes_nothing(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")
    picture = tmp_path / ("page.txt" if fault == "no picture's ending" else "page.png")
    monkeypatch.setattr(shutil, "which", lambda _: None if fault == "no browser" else "browser")
    if fault == "a damaged panel":
        (run / "panels" / "val" / "step0000030" / "made_0001.png").write_text("no picture")
    if fault == "nothing to draw":
        (run / "metrics.csv").write_text("step,epoch\n0,0\n", encoding="utf-8")
    before = whole(tmp_path)
    with pytest.raises(UserError):
        main(["run", str(run), f"--curves={tmp_path / 'out' / 'curves.png'}", f"--picture={picture}"])
    assert whole(tmp_path) == before
