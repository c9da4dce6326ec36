"""What `ivif data check` and the start of a run say about labels and pictures that can be read and look wrong."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from ivif.commands.data.check import check
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.datasets.folder import FolderLayout
from ivif.datamodules.datasets.palettes import palette_colours
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.start_checks import MOST_PAIRS, look_over, spread
from ivif.files.errors import LabelError
from tests.commands.runs import QUIET
from tests.fakes import Faults, png_16_bit, write_folder
from tests.inputs import brings
from tests.refusals import refusal, refused

YOLO = FolderLayout(labels="yolo")


def module(root: Path, layout: FolderLayout | None = None, **options: Any) -> FolderDataModule:
    labelled = {"layout": layout, "classes": ("person", "car")} if layout else {}
    return FolderDataModule(root=root, **{"train_fraction": 1.0, **labelled, **options})


def checked(data: FolderDataModule, out: Path) -> tuple[int, str]:
    """Exit code of `data check`, and what it prints."""
    stream = io.StringIO()
    stages = {stage: readers for stage in ("train", "val") if (readers := data.stage_readers(stage))}
    return check(stages, out, Console(file=stream, width=140)), stream.getvalue()


def said(data: FolderDataModule, caplog: pytest.LogCaptureFixture) -> str:
    """What the start of a training run warns of."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    return caplog.text


def swap(root: Path) -> None:
    (root / "ir").rename(root / "other")
    (root / "vi").rename(root / "ir")
    (root / "other").rename(root / "vi")


def false_colours(root: Path) -> None:
    for file in (root / "ir").iterdir():
        grey = np.asarray(Image.open(file))
        Image.fromarray(palette_colours("inferno")[grey]).save(file)


def deep(low: int, high: int, folder: str = "ir") -> Any:
    """Stores grey levels 0..255 as 16 bits from `low` to `high`."""

    def store(root: Path) -> None:
        for file in (root / folder).iterdir():
            grey: NDArray[np.float64] = np.asarray(Image.open(file)) / 255
            file.write_bytes(png_16_bit((low + grey * (high - low)).astype(np.uint16)))

    return store


def copies(root: Path) -> None:
    for file in (root / "ir").iterdir():
        Image.open(file).convert("RGB").save(root / "vi" / file.name)


def one_deep(root: Path) -> None:
    file = root / "ir" / "001.png"
    file.write_bytes(png_16_bit(np.asarray(Image.open(file)).astype(np.uint16) * 257))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(
            swap, "folders look swapped",
            marks=brings("pictures", "infrared and visible folders swapped", "reported", "asks to exchange them"),
        ),
        pytest.param(
            false_colours, "4 of 4 infrared pictures are in false colours of a known palette (inferno 4)",
            marks=brings("pictures", "infrared in false colours", "reported", "how many, of which palette"),
        ),
        pytest.param(
            deep(0, 255), "(stored values up to 240). Set `reading.thermal_range.mode`",
            marks=brings("pictures", "8-bit values in 16-bit infrared, scaled by type", "reported", "names the range"),
        ),
        pytest.param(
            deep(7000, 9000), "4 of 4 infrared pictures of more than 8 bits come out as next to one grey",
            marks=brings("pictures", "14-bit infrared with little range, by type", "reported", "names the range"),
        ),
        pytest.param(
            deep(0, 255, "vi"), "4 of 4 visible pictures of more than 8 bits come out as next to one grey",
            marks=brings("pictures", "8-bit values in 16-bit visible files", "reported", "asks for 8 bits"),
        ),
        pytest.param(
            copies, "4 of 4 pairs are one picture twice",
            marks=brings("pairs", "copies of the infrared pictures as visible ones", "reported", "how many pairs"),
        ),
        pytest.param(
            one_deep, "1 of 4 infrared pictures have more than 8 bits and the others have 8",
            marks=brings("pictures", "infrared of 8 and of 16 bits in one folder", "reported", "asks for one depth"),
        ),
    ],
)  # fmt: skip
def test_pictures_that_look_wrong_are_told(
    spoil: Any, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "data")
    spoil(root)
    reading = ReadingConfig(ThermalRange("type"))
    code, printed = checked(module(root, reading=reading), tmp_path / "out")
    assert (code, printed.count(told)) == (int(spoil is swap), 1)  # photographs are no infrared: each is a problem, too
    assert "note: train folder: " in printed
    started = said(module(root, reading=reading), caplog)
    assert started.count(told) == 1
    assert "(4 of 4 pairs looked at)" in started


def test_a_range_that_fits_and_pictures_as_they_should_be_say_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "data")
    assert "note" not in checked(module(root, YOLO), tmp_path / "out")[1]
    assert said(module(root, YOLO), caplog) == ""
    deep(7000, 9000)(root)
    fixed = ReadingConfig(thermal_range=ThermalRange("fixed", 7000, 9000))
    for reading in (fixed, ReadingConfig(thermal_range=ThermalRange("percentile"))):
        assert said(module(root, reading=reading), caplog) == ""
    wrong = ReadingConfig(thermal_range=ThermalRange("fixed", 0, 1000))
    assert "next to one grey" in said(module(root, reading=wrong), caplog)


def test_a_bounded_number_of_pairs_is_decoded_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_folder(tmp_path / "data", count=MOST_PAIRS + 8, size=(12, 14))
    swap(root)
    assert f"({MOST_PAIRS} of {MOST_PAIRS + 8} pairs looked at)" in said(module(root), caplog)
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(3, 4) == [0, 1, 2]


def write_line(root: Path, line: str) -> None:
    for file in (root / "yolo").glob("0*.txt"):
        file.write_text(line)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 0.1 0.1 0.9 0.9\n1 0.2 0.3 0.8 0.9", "two corners"),
        ("0 0.9 0.9 0.4 0.4\n1 0.5 0.5 0.2 0.2", "4 of 8 boxes reach beyond their pictures"),
        ("0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.0 0.2", "4 box(es) outside the image"),
    ],
)
def test_labels_that_look_wrong_are_told_once(
    line: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "data")
    write_line(root, line)
    assert checked(module(root, YOLO), tmp_path / "out")[1].count(told) == 1
    assert said(module(root, YOLO), caplog).count(told) == 1


@brings("labels", "VOC `<depth>` that neither picture has", "reported", "how many labels")
def test_a_declared_depth_is_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_folder(tmp_path / "data", faults=Faults(grey_visible=True))
    for file in (root / "voc").iterdir():
        file.write_text(file.read_text().replace("<size>", "<size><depth>3</depth>"))
    told = "4 label(s) declare a <depth> that neither picture of their pairs has"
    layout = FolderLayout(labels="voc")
    assert told in checked(module(root, layout), tmp_path / "out")[1]
    assert told in said(module(root, layout), caplog)


@pytest.mark.parametrize("stage", ["train", "val"])
@brings("labels", "a label file that cannot be used", "refused", "before the first step, in whichever stage it is")
def test_a_bad_label_is_found_before_the_first_step(stage: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path, count=8)
    data = module(root, YOLO, train_fraction=0.5)
    name = data.stage_readers(stage)[0].names[-1]  # type: ignore[attr-defined]
    (root / "yolo" / f"{name}.txt").write_text("0 0.5")
    refusal(lambda: data.setup("fit"), LabelError, f"{name}.txt", "line 1", "five numbers")


def test_labels_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = module(write_folder(tmp_path), YOLO)
    data.setup("fit")
    reader: Any = data.stage_readers("train")[0]
    monkeypatch.setattr(reader.label_reader, "_parse", None)
    assert len(reader[0]["targets"]["labels"]) == 1


@brings("labels", "a class of `classes` without a single box", "reported", "at the start of a detector's `fit`")
def test_classes_that_a_detector_cannot_learn_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(write_folder(tmp_path, count=3), YOLO, classes=["person", "dog", "car"], train_fraction=0.7)
    held_out = data.stage_readers("val")[0].names  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        look_over(data.stage_readers("train"), "train", detects=True)
        look_over(data.stage_readers("val"), "val", detects=True)
    absent = {"000": "dog, car", "001": "person, dog", "002": "dog, car"}[held_out[0]]  # of person, car, person
    assert "train: no box of class dog; it cannot be learnt." in caplog.text
    assert f"val: no box of class {absent}; it cannot be scored." in caplog.text


@pytest.mark.parametrize(
    ("line", "classes", "words"),
    [
        pytest.param(
            "", "[person, car]", "hold no box",
            marks=brings("labels", "label files that are all empty", "refused", "a detector's `fit`; `data check` too"),
        ),
        pytest.param(
            "0 0.5 0.5 0.4 0.4", "[car]", "does not choose, left out (person: ",
            marks=brings("labels", "no object of the chosen `classes`", "refused", "what there is instead"),
        ),
    ],
)  # fmt: skip
def test_a_detector_is_not_trained_without_a_single_box(
    line: str, classes: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", count=3)
    write_line(root, line)
    data = ["--data=folder.yaml", f"--data.root={root}", "--data.layout.labels=yolo", f"--data.classes={classes}"]
    command = [
        "fit",
        "--config=detection.yaml",
        "--config=detection_cpu.yaml",
        *data,
        "--trainer.max_steps=1",
        *QUIET,
        f"--runs_dir={tmp_path / 'runs'}",
    ]
    refused(command, capsys, "A detector cannot learn from folder", words, "data check")
    assert not list((tmp_path / "runs").rglob("*.ckpt"))
    code, printed = checked(module(root, YOLO, classes=(classes[1:-1].split(", "))), tmp_path / "out")
    assert code == 1
    assert printed.count("PROBLEM: folder has label files, and no box in any of them is used") == 1
