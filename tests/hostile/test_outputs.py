"""What runs write: below their folders alone, under plain names, and never over what they cannot read."""

from pathlib import Path
from typing import Final

import pytest

from ivif.callbacks.prediction_record import claim_pictures
from ivif.callbacks.prediction_writer import picture_path
from ivif.commands.errors import UsageError
from ivif.commands.report.charts import read_log
from ivif.contracts.run_files import STORE_RECORD
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.stored import StoredPlaneError, StoredPlanes
from ivif.files.errors import PairingError
from tests.commands.runs import tiny_run
from tests.fakes import write_folder, write_msrs
from tests.refusals import accepted, refusal, refused

NAMES: Final = ["../escape", "..", ".", "", " ", "/tmp/escape", "a/b", "a\\b", "a\0b", "a\nb", ".hidden", "\x1b[2J"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_data_set_names_are_no_paths(name: str) -> None:
    refusal(lambda: FolderLayout(name=name), ValueError, "layout.name", repr(name), "plain name")


@pytest.mark.parametrize("name", ["../escape", "a/../../b", "/tmp/escape", "a\\b", ".."])
@pytest.mark.parametrize("several", [False, True])
def test_pictures_stay_in_their_folder(name: str, several: bool, place: Path) -> None:
    refusal(lambda: picture_path(place, "msrs", name, several), ValueError, name, "paths")
    refusal(lambda: picture_path(place, name, "00001D", several), ValueError, name, "paths")


def test_odd_names_are_fused_under_their_own_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=5, size=(32, 40))
    odd = ("spaces and ünïcödé 图像", "new\nline", "x" * 240, "-option", "%s{0}$HOME")
    for number, name in enumerate(odd):
        for folder in ("ir", "vi"):
            (root / folder / f"{number:03d}.png").rename(root / folder / f"{name}.png")
    data = ("--data=folder.yaml", f"--data.init_args.root={root}", "--data.init_args.predict_stage=all")
    command = tiny_run("predict", place / "runs", "--allow_random_weights", f"--output_dir={place / 'out'}", data=data)
    accepted(command, capsys)
    assert {path.stem for path in (place / "out").glob("*.png")} == set(odd)
    assert not list((place / "out").glob(".*"))


def test_names_that_differ_by_case_alone_are_refused(place: Path) -> None:
    root = write_msrs(place / "data")
    for folder in ("ir", "vi"):
        (root / "test" / folder / "00101N.png").rename(root / "test" / folder / "00001d.png")
    refusal(lambda: MSRS(root, "all"), PairingError, "00001D.png", "00001d.png", "in any case")


RECORDS: Final = {
    "nothing": "",
    "cut": '{"task": "MGF',
    "a list": "[]",
    "a number": "7",
    "a hundred thousand levels": "[" * 100_000,
    "other weights": '{"task": "MGFusionTask", "weights": "other"}',
    "commands that are none": '{"commands": {"pictures": []}}',
    "commands without pictures": '{"commands": [{"task": "MGFusionTask"}]}',
    "pictures that are none": '{"commands": [{"task": "MGFusionTask", "pictures": "0001.png"}]}',
    "names that are none": '{"commands": [{"task": "MGFusionTask", "pictures": [["0001.png"]]}]}',
    "classes that are none": '{"commands": [{"task": "MGFusionTask", "pictures": [], "classes": 7}]}',
}


@pytest.mark.parametrize("name", RECORDS)
def test_folders_with_a_damaged_record_are_not_written_into(name: str, place: Path) -> None:
    (place / "predictions.json").write_text(RECORDS[name])
    (place / "0001.png").touch()
    made_by = {"task": "MGFusionTask", "weights": "mine"}
    call = lambda: claim_pictures(place, made_by, [place / "0001.png"], ["person"])  # noqa: E731
    refusal(call, FileExistsError, str(place), "--output_dir")


LOGS: Final[dict[str, str | bytes]] = {
    "nothing": "",
    "text": "This is no table.",
    "binary": bytes(range(128, 256)),
    "ragged": "step,train/loss\n1,2\n1,2,3,4\n",
    "words for numbers": "step,train/loss\n1,good\n2,better\n",
    "no steps": "train/loss\n1\n",
    "an open quote": 'step,train/loss\n1,"2\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_damaged_logs_are_refused(name: str, place: Path) -> None:
    content = LOGS[name]
    (place / "metrics.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal(lambda: read_log(place), UsageError, "metrics.csv")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--pair=(", ("regular expression", "--pair")),
        ("--metrics=beauty", ("beauty", "Qabf")),
        ("--convention=mine", ("mine", "cddfuse")),
        ("--device=abacus", ("abacus",)),
        ("--fused=nowhere", ("nowhere", "folder")),
        ("--nothing=1", ("nothing", "no such option")),
        ("--classic=perhaps", ("classic", "true or false", "perhaps")),
    ],
)
def test_report_refuses_what_it_cannot_do(
    option: str, words: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(place / "data", count=1, size=(24, 26))
    folders = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'vi'}", "--metrics=EN"]
    refused(["report", "score", *folders, f"--out={place / 'tables'}", option], capsys, *words)
    assert not (place / "tables").exists()


def test_report_names_a_folder_among_the_pictures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(24, 26))
    (root / "vi" / "extra.png").mkdir()
    folders = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'vi'}"]
    command = ["report", "score", *folders, "--metrics=EN", "--classic=false", f"--out={place / 'tables'}"]
    assert "1 without a partner, 1 of no pair" in accepted(command, capsys)
    named = (place / "tables" / "summary.md").read_text(encoding="utf-8")
    assert named.count("extra.png: ") == 2  # as a visible picture and as a result


@pytest.mark.parametrize("content", ["", "[]", '{"epoch": "x"}', '{"epoch": null}', "{}"])
def test_stores_with_a_damaged_record_are_refused(content: str, place: Path) -> None:
    (place / STORE_RECORD).write_text(content)
    stored = StoredPlanes(FolderDataset(write_folder(place / "data", count=1)), place, "previous", 1)
    refusal(lambda: stored.epoch, StoredPlaneError, STORE_RECORD, "Remove the folder")
