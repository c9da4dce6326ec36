"""Names of files and classes are data: no target that they are written to obeys them."""

import csv
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

from ivif.callbacks.detection_files import PARTS, DetectionFiles, gather
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.images import panel
from ivif.callbacks.tables import DetectionTable, ResultTable
from ivif.callbacks.wandb_run import WandbRun
from ivif.commands.cli import main
from ivif.commands.data.check import check
from ivif.commands.data.contact_sheet import Entry, draw_contact_sheet
from ivif.commands.errors import report_error
from ivif.commands.report.charts import draw_curves
from ivif.contracts.batch import Detections, Targets
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.manifest_expansion import write_expansion
from ivif.datamodules.manifests import Manifest, Selection
from ivif.files.errors import PairingError, SplitError, UnreadableFileError
from ivif.files.names import file_name, printable
from ivif.files.table_files import read_table, write_table
from ivif.files.text_output import CleanRecord, key, label, latex, markdown, quoted, terminal, unquoted
from ivif.metrics.detection import DetectionMetrics
from ivif.metrics.fusion import FusionMetrics
from ivif.testing.batches import quiet_trainer
from tests.callbacks.detecting import DataWithBoxes, DetectingTask
from tests.commands.test_report_run import write_run
from tests.fakes import write_folder
from tests.refusals import accepted, refusal, refused

CLEAR: Final = "\x1b[2J\x1b]0;title\x07"
HOSTILE: Final = (
    "[/]a",
    "[red]b",
    "[bold link=file:///etc]c",
    f"{CLEAR}d",
    "e\nerror: forged",
    "f\r\x08g",
    "\u202eexe.gnp",
    "h\u2028i",
    "$^$",
    "\\input{x}",
    "=HYPERLINK(0)",
    "+1",
    "@SUM(1)",
    "-cmd|' /C calc'!A0",
    "`j`|k|<script>",
    "n\x9b2J",
)
OBEYED: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no output may hold; lines end as they do."""


def test_printable_keeps_all_that_people_can_read() -> None:
    for name in ("spaces and ünïcödé 图像", "a\u3000b\xa0c", "\u0645\u06cc\u200c\u062e", "👩\u200d🚒", "[x]$%&"):
        assert printable(name) == name
    assert printable("a\tb\n\x1b\u202e\udce9") == "a\\tb\\n\\x1b\\u202e\\udce9"
    assert terminal("one\n\ttwo\x1b[0m\r") == "one\n\ttwo\\x1b[0m\\r"


def test_latex_takes_no_name_for_a_command() -> None:
    assert latex("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex("a_b&c%d#e$f^g~h<i>|") == (
        r"a\_b\&c\%d\#e\$f\textasciicircum{}g\textasciitilde{}h\textless{}i\textgreater{}\textbar{}"
    )
    assert latex("[2cm]") == "{}[2cm]"  # behind the end of a row that would be a distance
    assert latex("*") == "{}*"


def test_markdown_takes_no_name_for_a_cell_or_a_link() -> None:
    assert markdown("a|b\n`c` <i> [d](e) \\") == r"a\|b\\n\`c\` \<i\> \[d\](e) \\"
    assert markdown("M3FD_fusion 0.5") == "M3FD_fusion 0.5"


@pytest.mark.parametrize("name", [*HOSTILE, "'=1", "''@", "'plain", "plain", "", "\uff1d1", "\t=1"], ids=repr)
def test_spreadsheets_find_no_formula_and_names_come_back(name: str, place: Path) -> None:
    assert not re.match("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]", quoted(name))
    assert unquoted(quoted(name)) == name
    write_table(pd.DataFrame({"name": [name], "method": [name], "value": [-0.5]}), place / "t.csv")
    found = read_table(place / "t.csv")
    assert (found["name"][0], found["method"][0], found["value"][0]) == (name, name, -0.5)
    with (place / "t.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream))[1] == [quoted(name), quoted(name), "-0.5"]


def _folders(place: Path, methods: tuple[str, ...]) -> list[str]:
    root = write_folder(place / "data", count=2, size=(24, 26))
    for folder in ("ir", "vi"):
        (root / folder / "001.png").rename(root / folder / f"{CLEAR}[red]\n.png")
    for method in methods:
        (root / method).mkdir()
        for path in (root / "vi").iterdir():
            (root / method / path.name).write_bytes(path.read_bytes())
    (root / "[").mkdir()
    for file in ("000.png", "]a.txt"):
        (root / "[" / file).write_bytes((root / "vi" / "000.png").read_bytes())
    return [
        f"--infrared={root / 'ir'}",
        f"--visible={root / 'vi'}",
        "--fused",
        *(str(root / m) for m in (*methods, "[")),
    ]


def test_report_score_takes_any_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = tuple(name for name in HOSTILE if "/" not in name)
    out = place / "tables"
    options = [*_folders(place, methods), "--metrics=EN", "--classic=false", "--pairs=all", f"--out={out}"]
    printed = accepted(["report", "score", *options], capsys)
    assert not OBEYED.search(printed)
    assert r"/\[/\]a.txt: not an image file, left out" in (out / "summary.md").read_text(encoding="utf-8")
    scores = read_table(out / "per_image.csv")
    assert set(scores["method"]) == {*methods, "["}
    assert set(scores["name"]) == {"000", f"{CLEAR}[red]\n"}
    for file in ("summary.md", "summary.tex"):
        assert not OBEYED.search((out / file).read_text(encoding="utf-8")), file
    tex = (out / "summary.tex").read_text(encoding="utf-8")
    assert "\\input" not in tex
    assert r"\textbackslash{}input\{x\} & " in tex
    rows = [line for line in (out / "summary.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}  # method, n, size, EN
    assert Image.open(out / "figure.png").width > 100


def test_figures_show_dollars_and_cut_what_is_long() -> None:
    assert label("$^$") == "$^$"
    assert label("x" * 250) == f"{'x' * 59}…"
    log = pd.DataFrame({"step": [1, 2], "train/loss": [2.0, 1.0], "val/$^$": [0.5, 0.6]})
    draw_curves(log, ["$^$"]).savefig(io.BytesIO())


def _console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=400), stream


def test_tables_of_a_run_take_any_names(place: Path) -> None:
    metric = FusionMetrics(["EN"])
    picture = torch.rand(1, 1, 24, 24)
    for name in HOSTILE:
        metric.update(picture, picture, picture, ["made"], [name])
    table = ResultTable("standard", dict.fromkeys(HOSTILE, metric))
    console, stream = _console()
    table.show(console)
    assert not OBEYED.search(stream.getvalue())
    for name in ("[/]a", "[red]b", "$^$"):
        assert name in stream.getvalue()
    table.write(place, "test")
    assert set(read_table(place / "test_per_image.csv")["name"]) == set(HOSTILE)
    text = (place / "test.md").read_text(encoding="utf-8")
    assert not OBEYED.search(text)
    assert len([line for line in text.splitlines() if line.startswith("| made")]) == len(HOSTILE)


def test_tables_of_detections_take_any_names(place: Path) -> None:
    scores = DetectionMetrics(HOSTILE)
    boxes = torch.tensor([[1.0, 1.0, 9.0, 9.0]])
    found: Detections = {"boxes": boxes, "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}
    scores.update([found], [{"boxes": boxes, "labels": torch.tensor([0])}], ["made"], ["a"])
    table = DetectionTable("[/]a", scores.report(), {"made": {(24, 24)}})
    console, stream = _console()
    table.show(console)
    assert not OBEYED.search(stream.getvalue())
    assert "[red]b" in stream.getvalue()
    assert not OBEYED.search(table.markdown())
    table.write(place)
    assert [name for name in read_table(place / "detection.csv")["class"] if name != "mean"] == list(HOSTILE)


def test_pictures_take_any_names(place: Path) -> None:
    image = torch.rand(3, 24, 24)
    boxes: Targets = {"boxes": torch.tensor([[1.0, 1.0, 9.0, 9.0]]), "labels": torch.tensor([0])}
    for name in HOSTILE:
        panel({name: image}, 32, {name: boxes}, [name])
        sample = {"infrared": image[:1], "visible": image, "name": name, "dataset": "made", "targets": boxes}
        draw_contact_sheet([Entry(name, sample, [name])], place / "sheet.png")  # type: ignore[arg-type]


def test_errors_and_logs_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(UnreadableFileError(Path("e\nerror: forged\x1b[2J.png"), "it is empty"))
    assert capsys.readouterr().err.splitlines()[0].startswith("error: Cannot read 'e\\nerror: forged\\x1b[2J.png': it")
    record = CleanRecord("x", logging.WARNING, "", 1, "one\n'%s', %r, %d", (Path("a\nb"), CLEAR, 3), None)
    assert record.getMessage() == "one\n'a\\nb', '\\\\x1b[2J\\\\x1b]0;title\\\\x07', 3"


@pytest.fixture
def _records() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("_records")
def test_the_command_line_cleans_the_log() -> None:
    main([])
    assert logging.getLogRecordFactory() is CleanRecord


NAMES: Final = (
    "a\nb",
    "a\rb",
    "h\u2028i",
    "\x0bj\x1c",
    "l\x85m",
    '"quoted"',
    '"',
    '"7"',
    "plain",
    " blanks ",
    "ünï",
    "",
)


def test_lists_of_names_come_back_letter_for_letter(place: Path) -> None:
    names = list(NAMES[:-1])
    write_expansion(place / "used.yaml", [Selection("default", "made", "train", "all", names, None, [], 0, "")])
    again = Manifest.load(place / "used.yaml")
    assert again.listed("made", "train") == names
    assert (place / "used" / "made_train.txt").read_text(encoding="utf-8").splitlines()[4:8] == [
        '"l\\u0085m"',
        '"\\"quoted\\""',
        '"\\""',
        '"\\"7\\""',
    ]
    (place / "used" / "made_train.txt").write_text('"a\\nb"\n', encoding="utf-8")
    with pytest.raises(Exception, match="is not the one"):
        Manifest.load(place / "used.yaml")


LATIN: Final = os.fsdecode(b"caf\xe9")


def _latin(place: Path) -> Path:
    root = write_folder(place / "data", count=2, size=(24, 26))
    for folder in ("ir", "vi"):
        (root / folder / "001.png").rename(root / folder / f"{LATIN}.png")
    return root


def test_names_that_are_no_text_are_refused_with_a_remedy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _latin(place)
    refusal(lambda: FolderDataset(root), PairingError, "caf\\udce9.png", "not UTF-8", "convmv")
    command = ["data", "check", "--data=configs/data/folder.yaml", f"--data.init_args.root={root}"]
    repository = Path(__file__).resolve().parents[2]
    command[2] = f"--data={repository / 'configs' / 'data' / 'folder.yaml'}"
    refused(command, capsys, "caf\\udce9.png", "not UTF-8", "convmv")
    refused(["report", "score", f"--infrared={LATIN}"], capsys, "caf\\udce9", "not UTF-8", "convmv")


def test_report_score_leaves_out_names_that_are_no_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _latin(place)
    folders = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'vi'}"]
    printed = accepted(["report", "score", *folders, "--metrics=EN", "--classic=false", f"--out={place / 't'}"], capsys)
    assert "2 whose names are not UTF-8" in printed.replace("\n", "")
    assert set(read_table(place / "t" / "per_image.csv")["name"]) == {"000"}
    report = (place / "t" / "summary.md").read_text(encoding="utf-8")
    assert "caf\\\\udce9.png: its name is not UTF-8, left out" in report


def test_data_check_takes_any_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(24, 26))
    for folder in ("ir", "vi"):
        (root / folder / "001.png").rename(root / folder / f"{CLEAR}[/]\n.png".replace("/", ""))
    (root / "vi" / f"{CLEAR}[red].png").write_bytes(b"")
    classes = ("[/]a", "[red]b", "$^$")
    (root / "labels").mkdir()
    (root / "labels" / "000.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    dataset = FolderDataset(root, layout=FolderLayout(labels="labels", name="[red]"), classes=classes)
    assert check({"train": [dataset]}, place / "out") == 0
    printed = capsys.readouterr().out
    for text in (printed, (place / "out" / "report.txt").read_text(encoding="utf-8")):
        assert not OBEYED.search(text)
        for shown in ("[red]b", "[/]a", "$^$", "[red]"):
            assert shown in text
    assert (place / "out" / "contact_sheet.png").is_file()


def test_the_page_of_a_run_takes_any_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(place / "run")
    Image.new("RGB", (9, 9)).save(run / "panels" / "val" / "step0000030" / f"{LATIN}{CLEAR}\u202e<b>.png")
    (run / "config.yaml").write_text("run_name: '\u202e<script>'\n", encoding="utf-8")
    accepted(["report", "run", str(run)], capsys)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert not OBEYED.search(page.replace("\t", ""))
    assert "caf\\udce9\\x1b[2J" in page
    assert "\\u202e&lt;script&gt;" in page


@pytest.mark.parametrize(
    "text", ["seed: SEED\ndatasets: {}\n", "datasets: {made: {released: {}, stages: {train: STAGE}}}\n"]
)
@pytest.mark.parametrize("value", ["9" * 5000, "1e999", ".nan", "true", "-1"])
def test_manifests_take_no_number_for_another(text: str, value: str, place: Path) -> None:
    stage = f"{{pool: all, fraction: {value}}}"
    (place / "m.yaml").write_text(text.replace("SEED", value).replace("STAGE", stage), encoding="utf-8")
    if "SEED" in text and value == "-1":
        assert Manifest.load(place / "m.yaml").seed == -1
        return
    refusal(lambda: Manifest.load(place / "m.yaml"), SplitError, "m.yaml")


def test_manifests_take_no_truth_for_a_count(place: Path) -> None:
    for value in ("true", "1.0", "'3'", ".inf"):
        stage = f"{{pool: all, count: {value}}}"
        (place / "m.yaml").write_text(f"datasets: {{made: {{released: {{}}, stages: {{train: {stage}}}}}}}\n")
        refusal(lambda: Manifest.load(place / "m.yaml"), SplitError, "m.yaml", "count")


LONG: Final = "x" * 251
WIDE: Final = "图" * 83


@pytest.mark.parametrize("name", [LONG, WIDE], ids=["ascii", "wide"])
def test_the_longest_names_have_all_their_files(name: str, place: Path) -> None:
    found: Detections = {"boxes": torch.zeros(1, 4) + 3, "scores": torch.ones(1), "labels": torch.zeros(1).long()}
    files = DetectionFiles(yolo=True, draw=True)
    picture = place / f"{name}.png"
    files.write(found, Image.new("RGB", (9, 9)), picture, ["person"])
    assert all(path.is_file() for path in files.paths(picture))
    (gathered,) = gather(place)
    assert [entry["image_id"] for entry in json.loads(gathered.read_text(encoding="utf-8"))] == [name]
    assert len(list((place / PARTS).iterdir())) == 1


def test_file_names_keep_to_what_filesystems_take() -> None:
    assert file_name("a" * 251, ".png") == f"{'a' * 251}.png"
    for stem in ("a" * 252, "图" * 100):
        shortened = file_name(stem, ".json")
        assert len(os.fsencode(shortened)) <= 255
        assert shortened.startswith(stem[:70])
        assert shortened.endswith(".json")
        assert shortened != file_name(f"{stem}b", ".json")
    assert key("panels", "val", "made", "0001") == "panels/val/made/0001"
    assert len(os.fsencode(key("panels", WIDE))) <= len("panels/") + 150
    assert key("panels", "a\nb") == "panels/a\\nb"


class _LongNames(DataWithBoxes):
    """The same pairs under names that are hard to write."""

    def test_dataloader(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        loaders = super().test_dataloader()
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            collate = loader.collate_fn

            def renamed(samples, collate=collate):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
                batch = collate(samples)
                batch["name"] = [f"{'[*]' * 84}{name[-1]}" for name in batch["name"]]
                return batch

            loader.collate_fn = renamed
        return loaders


def test_panels_and_dashboards_take_the_longest_names(place: Path) -> None:
    logger = WandbRun("offline")
    logger.place(place, "test")
    trainer = quiet_trainer(place, logger=logger, callbacks=[ImageLogger(images_per_dataset=1, height=24)])
    trainer.test(DetectingTask(), _LongNames(), verbose=False)
    panels = list((place / "panels" / "test").rglob("*.png"))
    assert len(panels) == 2
    assert all("~" in path.name for path in panels)
    assert len(list(place.glob("wandb/offline-run-*/files/media/images/panels/test/*/*.png"))) == 2


def test_data_set_names_are_not_too_long() -> None:
    FolderLayout(name="x" * 100)
    refusal(lambda: FolderLayout(name="x" * 101), ValueError, "layout.name", "longer than 100")
