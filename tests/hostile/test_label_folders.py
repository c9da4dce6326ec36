"""Labels of whole data sets: what belongs to no pair is told, faults are named by readers and commands."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.files.errors import LabelError
from tests.fakes import Faults, write_folder, write_llvip, write_m3fd, write_msrs
from tests.refusals import accepted, refusal, refused

Open = Callable[[Path, Faults, ReadingConfig], PairedDataset]


def _m3fd(place: Path, faults: Faults, reading: ReadingConfig) -> PairedDataset:
    return M3FD(write_m3fd(place / "data", faults=faults), reading=reading)


def _m3fd_yolo(place: Path, faults: Faults, reading: ReadingConfig) -> PairedDataset:
    return M3FD(write_m3fd(place / "data", faults=faults, folders=("Ir", "Vis", "")), reading=reading)


def _msrs(place: Path, faults: Faults, reading: ReadingConfig) -> PairedDataset:
    return MSRS(write_msrs(place / "data", faults=faults), reading=reading)


def _llvip(place: Path, faults: Faults, reading: ReadingConfig) -> PairedDataset:
    return LLVIP(write_llvip(place / "data", faults=faults), reading=reading)


def _folder(kind: str) -> Open:
    def opened(place: Path, faults: Faults, reading: ReadingConfig) -> PairedDataset:
        layout = FolderLayout(labels=kind)
        return FolderDataset(
            write_folder(place / "data", faults=faults), reading=reading, layout=layout, classes=("person", "car")
        )

    return opened


DATASETS: dict[str, Open] = {
    "m3fd voc": _m3fd,
    "m3fd yolo": _m3fd_yolo,
    "msrs": _msrs,
    "llvip": _llvip,
    "folder voc": _folder("voc"),
    "folder yolo": _folder("yolo"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_an_unknown_class_stops_or_is_left_out_as_asked(name: str, place: Path) -> None:
    dataset = DATASETS[name](place, Faults(unknown_class=True), ReadingConfig())
    refusal(lambda: dataset[0], LabelError, "'", "none of", "reading.unknown_labels")
    lenient = DATASETS[name](place, Faults(unknown_class=True), ReadingConfig(unknown_labels="ignore"))
    lenient.load_targets(0)
    assert sum(lenient.label_reader.tally.ignored.values()) == 1


@pytest.mark.parametrize("name", DATASETS)
def test_a_malformed_label_is_named(name: str, place: Path) -> None:
    dataset = DATASETS[name](place, Faults(malformed_label=True), ReadingConfig())
    message = refusal(lambda: dataset[0], LabelError, str(place / "data"))
    assert "line" in message or "object" in message


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_label_warns_drops_or_stops_as_asked(
    name: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened, faults = DATASETS[name], Faults(missing_label=True)
    assert len(opened(place, faults, ReadingConfig()).load_targets(0)["labels"]) == 0
    assert "have no label file" in caplog.text
    whole = len(opened(place, faults, ReadingConfig()))
    assert len(opened(place, faults, ReadingConfig(missing_labels="drop"))) == whole - 1
    assert "they are left out" in caplog.text
    refusal(lambda: opened(place, faults, ReadingConfig(missing_labels="error")), LabelError, "missing_labels", "drop")


def _rename(folder: Path, suffix: str) -> None:
    for file in sorted(folder.glob(f"*{suffix}")):
        if file.stem != "classes":
            file.rename(file.with_name(f"label_{file.name}"))


def test_labels_of_other_names_alone_are_refused_or_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_folder(place / "own")
    _rename(root / "voc", ".xml")
    layout = FolderLayout(labels="voc")
    refusal(lambda: FolderDataset(root, layout=layout, classes=("person",)), LabelError, "voc", "4 pairs", "000.xml")
    root = write_m3fd(place / "m3fd", yolo=False)
    _rename(root / "Annotation", ".xml")
    assert not M3FD(root).has_labels
    assert "4 label file(s) of no pair's name, or beside another label of the same pair" in caplog.text
    assert "label_00000.xml" in caplog.text


def test_one_label_of_another_name_is_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_folder(place / "data")
    (root / "yolo" / "003.txt").rename(root / "yolo" / "0003.txt")
    dataset = FolderDataset(root, layout=FolderLayout(labels="yolo"), classes=("person", "car"))
    assert dataset.pairing.stray_labels == (root / "yolo" / "0003.txt",)
    assert dataset.pairing.unlabelled == ("003",)
    assert "0003.txt" in caplog.text


def test_a_second_label_of_a_pair_is_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("0001_ir", "0001_vis"):
        Image.new("RGB", (40, 30)).save(place / f"{name}.png")
        (place / "labels").mkdir(exist_ok=True)
        (place / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    dataset = FolderDataset(place, layout=FolderLayout(labels="labels"), classes=("person", "car"))
    assert [record.label for record in dataset.records] == [place / "labels" / "0001_vis.txt"]
    assert dataset.pairing.stray_labels == (place / "labels" / "0001_ir.txt",)
    assert "0001_ir.txt" in caplog.text


def test_labels_of_the_other_split_are_no_strays(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_llvip(place / "data")
    assert LLVIP(root, "train").pairing.stray_labels == ()
    (root / "Annotations" / "999999.xml").write_text("<annotation/>")
    assert LLVIP(root, "all").pairing.stray_labels == (root / "Annotations" / "999999.xml",)


def test_two_labels_for_one_pair_are_refused(place: Path) -> None:
    root = write_folder(place / "data", templates=("a{}", "a{}"))
    (root / "voc" / "A0.xml").write_text("<annotation/>")
    layout = FolderLayout(labels="voc")
    refusal(lambda: FolderDataset(root, layout=layout, classes=("person",)), LabelError, "A0.xml", "a0.xml", "Keep one")


@pytest.mark.parametrize(
    ("layout", "classes", "words"),
    [
        (FolderLayout(labels="nowhere"), ("person",), ("nowhere", "layout.labels")),
        (FolderLayout(labels="voc"), (), ("voc", "classes")),
        (FolderLayout(labels="voc", label_format="yolo"), ("person",), ("No label", ".txt")),
        (FolderLayout(labels="vi"), ("person",), ("No label", "vi")),
        (FolderLayout(labels="yolo/000.txt"), ("person",), ("000.txt", "COCO")),
    ],
    ids=["missing", "no classes", "other format", "images", "one label file"],
)
def test_layouts_that_name_no_labels_are_refused(
    layout: FolderLayout, classes: tuple[str, ...], words: tuple[str, ...], place: Path
) -> None:
    root = write_folder(place / "data")
    refusal(lambda: FolderDataset(root, layout=layout, classes=classes), LabelError, *words)


def _labelled(root: Path, kind: str) -> list[str]:
    return [
        "--data=folder.yaml",
        f"--data.init_args.root={root}",
        f"--data.init_args.layout.labels={kind}",
        "--data.init_args.classes=[person, car]",
        "--data.init_args.train_fraction=0",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 0.5 0.5 0.1", "five numbers"),
        ("7 0.5 0.5 0.1 0.1", "id 7"),
        ("0 99 0.5 0.1 0.1", "fractions"),
    ],
)
def test_data_check_names_each_damaged_label(
    line: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(place / "data", count=2, size=(12, 14))
    (root / "yolo" / "001.txt").write_text(line)
    assert main(["data", "check", *_labelled(root, "yolo")]) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert f"PROBLEM: '{root / 'yolo' / '001.txt'}'" in captured.out
    assert words in captured.out
    assert "1 problem(s)" in captured.out


def test_data_check_notes_what_labels_lose(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=3, size=(12, 14))
    (root / "yolo" / "000.txt").write_text("0 0.5 0.5 0.4 0.4\n0 0.5 0.5 0.4 0.4\n9 0.5 0.5 0.4 0.4\n")
    (root / "yolo" / "001.txt").write_text("0 0.5 0.5 0 0\n")
    (root / "yolo" / "002.txt").rename(root / "yolo" / "2.txt")
    ignoring = "--data.init_args.reading.unknown_labels=ignore"
    printed = accepted(["data", "check", *_labelled(root, "yolo"), ignoring], capsys)
    for note in (
        "1 label file(s) of no pair's name, or beside another label of the same pair",
        "1 box(es) outside the image or below reading.minimum_box_side",
        "objects of unknown classes, left out (id 9: 1)",
        "1 box(es) stand twice in their label file",
        "1 pair(s) have no label file",
    ):
        assert f"note: val folder: {note}" in printed


@pytest.mark.parametrize("kind", ["template", "dataset"])
def test_prompts_of_pairs_without_labels_are_not_called_templates(
    kind: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_folder(place / "data", count=2, size=(12, 14)), place / "prompts.jsonl"
    data = ["--data=folder.yaml", f"--data.init_args.root={root}"]
    accepted(["data", "prompts", *data, f"--by={kind}", f"--out={out}"], capsys)
    assert out.read_text().count(f'"source": "{"brightness" if kind == "template" else "dataset"}"') == 2


def test_prompts_from_a_damaged_label_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(12, 14))
    (root / "yolo" / "001.txt").write_text("0 0.5\n")
    command = ["data", "prompts", *_labelled(root, "yolo"), "--by=template", f"--out={place / 'prompts.jsonl'}"]
    refused(command, capsys, "001.txt", "line 1", "five numbers")
