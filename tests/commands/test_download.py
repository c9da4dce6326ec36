"""`data download`: whole and checked, or nothing and a word on what to do."""

import errno
import fcntl
import io
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from ivif.commands.cli import main
from ivif.commands.data import places
from ivif.commands.data.places import PLACES
from tests.fakes import write_llvip, write_m3fd, write_msrs, write_roadscene, write_tno
from tests.inputs import brings
from tests.refusals import accepted, refused
from tests.web import Web, files_below, serving

ROOT = Path(__file__).resolve().parents[2]


def packed(folder: Path, top: str = "", comment: str = "") -> bytes:
    """A folder as a zip archive, below `top`, with the comment that GitHub writes: the commit."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.comment = comment.encode()
        for name in files_below(folder):
            archive.write(folder / name, f"{top}{name}")
    return content.getvalue()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Archives as GitHub has them, of four and of three and three pairs."""
    road, msrs = write_roadscene(tmp_path / "r"), write_msrs(tmp_path / "m")
    small = {
        "roadscene": {"all": 4},
        "msrs": {"train": 3, "test": 3},
        "llvip": {"train": 3, "test": 3},
        "m3fd": {"all": 4},
    }
    for name, pairs in small.items():
        monkeypatch.setitem(PLACES, name, replace(PLACES[name], pairs=pairs))
    files = {}
    for name, folder in (("roadscene", road), ("msrs", msrs)):
        place = PLACES[name]
        path = f"/{place.repository}/archive/{place.commit}.zip"
        files[path] = packed(folder, f"{place.folder}-{place.commit}/", place.commit)
    with serving(files) as web:
        monkeypatch.setattr(places, "GITHUB", web.address)
        yield web


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def line(name: str, out: Path, *options: str) -> list[str]:
    return ["data", "download", name, "--out", str(out), *options]


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        pytest.param(
            "roadscene",
            4,
            marks=brings("downloads", "`data download roadscene`", "works", "221 pairs in data/RoadScene"),
        ),
        pytest.param(
            "msrs",
            6,
            marks=brings("downloads", "`data download msrs`", "works", "1083 + 361 pairs in data/MSRS"),
        ),
    ],
)
def test_a_repository_becomes_a_dataset(
    web: Web, out: Path, name: str, pairs: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = out / PLACES[name].folder
    said = accepted(line(name, out, "--accept-terms"), capsys)
    assert PLACES[name].terms in said
    assert f"{pairs} pairs in {folder}. Look at them:\n" in said
    assert [path.name for path in out.iterdir()] == [folder.name]
    monkeypatch.chdir(out.parent)
    assert main(["data", "check", *shlex.split(said.rpartition("data check ")[2].splitlines()[0])]) in (0, 1)
    assert f" {name} " in capsys.readouterr().out
    assert "is there already, with all pairs" in accepted(line(name, out), capsys)
    assert len(web.transfers()) == 1


def test_the_table_is_that_of_the_readers() -> None:
    assert {name: dict(place.pairs) for name, place in PLACES.items()} == {
        "roadscene": {"all": 221},
        "msrs": {"train": 1083, "test": 361},
        "llvip": {"train": 12025, "test": 3463},
        "m3fd": {"all": 4200},
        "tno": {},
    }
    for name, place in PLACES.items():
        module, _, reader = place.reader.rpartition(".")
        declared = getattr(import_module(module), reader)
        assert (declared.dataset_name, declared.url) == (name, place.page)
        assert f"root: data/{place.folder}\n" in (ROOT / "configs" / "data" / f"{name}.yaml").read_text("utf-8")
        assert place.page in (ROOT / "DATASETS.md").read_text("utf-8")


@brings(
    "downloads",
    "`data download` in a script without `--accept-terms`",
    "refused",
    "the owners' terms, and the line to type; on a terminal they are asked for",
)
def test_terms_come_first(
    web: Web, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(line("roadscene", out), capsys, f"data download roadscene --out {shlex.quote(str(out))} --accept_terms")
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})("n\n"))
    assert main(line("roadscene", out)) == 1
    assert "Nothing was fetched." in capsys.readouterr().out
    assert web.asked == []
    assert not out.exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert "4 pairs in" in accepted(line("roadscene", out), capsys)


@pytest.mark.parametrize(
    ("name", "write", "pairs"),
    [
        pytest.param(
            "m3fd",
            lambda folder: write_m3fd(folder),
            4,
            marks=brings(
                "downloads",
                "`data download m3fd`",
                "refused",
                "where to click; `--archive FILE` then unpacks and checks it",
            ),
        ),
        pytest.param(
            "tno",
            lambda folder: write_tno(folder, count=3),
            3,
            marks=brings(
                "downloads",
                "`data download tno`",
                "refused",
                "what to choose; `--archive FILE` then unpacks and checks it",
            ),
        ),
    ],
)
def test_what_has_no_stable_address_is_fetched_by_hand(
    web: Web,
    out: Path,
    tmp_path: Path,
    name: str,
    write: Callable[[Path], Path],
    pairs: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = PLACES[name]
    by_hand = f"data download {name} --out {shlex.quote(str(out))} --archive FILE.zip"
    refused(line(name, out), capsys, place.page, by_hand)
    refused(line(name, out, "--archive", "none.zip"), capsys, "--archive none.zip: no such file")
    refused(line(name, out, "--archive", str(tmp_path)), capsys, f"--archive {tmp_path}: it is a folder")
    (tmp_path / "bad.zip").write_bytes(b"<html>")
    new = tmp_path / "new" / "data"
    refused(line(name, new, "--archive", str(tmp_path / "bad.zip")), capsys, "no whole zip archive", place.link)
    assert not new.parent.exists()
    archive = tmp_path / "mine.zip"
    archive.write_bytes(packed(write(tmp_path / "w")))
    assert f"{pairs} pairs in {out / place.folder}" in accepted(line(name, out, "--archive", str(archive)), capsys)
    assert archive.exists()
    assert [path.name for path in out.iterdir()] == [place.folder]
    assert web.asked == []


@brings(
    "downloads",
    "`data download llvip`",
    "works",
    "12025 + 3463 pairs in data/LLVIP by the package gdown; without it, how to install it and where to click",
)
def test_google_drive_is_gdowns_business(
    web: Web, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = line("llvip", out, "--accept_terms")
    monkeypatch.setitem(sys.modules, "gdown", None)  # as if it were not installed
    refused(options, capsys, "pip install gdown", PLACES["llvip"].drive, "--archive FILE.zip")
    drive = ModuleType("gdown")
    monkeypatch.setitem(sys.modules, "gdown", drive)

    def quota(id: str, output: str, resume: bool) -> None:
        raise RuntimeError("https://drive.google.com/?key=private")

    monkeypatch.setattr(drive, "download", quota, raising=False)
    assert "private" not in refused(options, capsys, "Google Drive did not give LLVIP (RuntimeError)", "later")

    def page(id: str, output: str, resume: bool) -> str:
        Path(output).write_bytes(b"<html>Too many users have viewed or downloaded this file recently</html>")
        return output

    monkeypatch.setattr(drive, "download", page)
    refused(options, capsys, "no whole zip archive", "was removed")
    assert files_below(out) == []

    def archive(id: str, output: str, resume: bool) -> str:
        assert (id, resume) == (PLACES["llvip"].drive, True)
        Path(output).write_bytes(packed(write_llvip(tmp_path / "l"), "LLVIP/"))
        return output

    monkeypatch.setattr(drive, "download", archive)
    assert f"6 pairs in {out / 'LLVIP'}" in accepted(options, capsys)
    assert [path.name for path in out.iterdir()] == ["LLVIP"]


@brings(
    "downloads",
    "a folder of the dataset's name that holds something else, or a part of it",
    "refused",
    "what it has and what a whole copy has; nothing in it is touched",
)
def test_what_is_there_is_left_as_it_is(web: Web, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_roadscene(out / "RoadScene", count=3)
    before = {name: (out / name).read_bytes() for name in files_below(out)}
    options = line("roadscene", out, "--accept_terms")
    refused(
        options, capsys, f"'{out / 'RoadScene'}' is there already", "it has 3 pairs and not 4", "choose another --out"
    )
    assert {name: (out / name).read_bytes() for name in files_below(out)} == before
    for path in sorted((out / "RoadScene").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (out / "RoadScene" / "mine.txt").write_text("mine")
    refused(options, capsys, "it has no pairs of RoadScene")
    assert files_below(out) == ["RoadScene/mine.txt"]
    assert web.asked == []


@brings(
    "downloads",
    "an archive that is damaged, of another state, or does not hold all pairs",
    "refused",
    "what is wrong with it; nothing of it gets the dataset's name, and what was fetched is removed",
)
@pytest.mark.parametrize("fault", ["damaged", "commit", "pairs"])
def test_another_archive_leaves_nothing(
    web: Web, out: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (path for path in web.files if "RoadScene" in path)
    if fault == "damaged":
        content = bytearray(web.files[path])
        content[200] ^= 1
        web.files[path], named = bytes(content), "no whole zip archive"
    elif fault == "commit":
        web.files[path], named = packed(tmp_path / "r", "a/", "f" * 40), f"is of commit {'f' * 40}"
    else:
        web.files[path], named = packed(write_roadscene(tmp_path / "s", count=3), "a/"), "it has 3 pairs and not 4"
    refused(line("roadscene", out, "--accept_terms"), capsys, named, "was removed", "--archive FILE.zip")
    assert files_below(out) == []
    assert list(out.iterdir()) == []


@brings(
    "downloads",
    "a download that broke, or whose process was killed",
    "works",
    "the same line goes on where it was; nothing half has the dataset's name",
)
def test_a_break_goes_on(web: Web, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.break_after = [1000, 0]
    refused(line("roadscene", out, "--accept_terms"), capsys, "the next try goes on there", "Type the same line again")
    assert [Path(name).suffix for name in files_below(out)] == [".download"]
    accepted(line("roadscene", out, "--accept_terms"), capsys)
    assert web.transfers()[-1] == "bytes=1000-"


KILLED = """
import os, pathlib, signal, sys
from dataclasses import replace
from ivif.commands.data import download, places
places.GITHUB = sys.argv[1]
places.PLACES["roadscene"] = replace(places.PLACES["roadscene"], pairs={"all": 4})
download._counts = lambda *_: {"all": 4}
if sys.argv[3] == "unpacked":
    download._missing_pairs = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    pathlib.Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
download.download("roadscene", pathlib.Path(sys.argv[2]), True)
"""


@pytest.mark.parametrize("moment", ["unpacked", "named"])
def test_a_kill_leaves_nothing_half(
    web: Web, out: Path, moment: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED, web.address, str(out), moment]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / "RoadScene").exists() == (moment == "named")
    assert len(list(out.iterdir())) == 2
    web.files.clear()
    accepted(line("roadscene", out, "--accept_terms"), capsys)
    assert [path.name for path in out.iterdir()] == ["RoadScene"]


def test_two_at_once_do_not_unpack_into_one_folder(web: Web, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = out / ".RoadScene.unpacking"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    refused(line("roadscene", out, "--accept_terms"), capsys, f"Another process is unpacking into '{folder}'")
    os.close(descriptor)
    accepted(line("roadscene", out, "--accept_terms"), capsys)


def test_no_network_is_one_message_with_the_address(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "GITHUB", "http://127.0.0.1:9")
    address = f"http://127.0.0.1:9/hanna-xu/RoadScene/archive/{PLACES['roadscene'].commit}.zip"
    refused(line("roadscene", out, "--accept_terms"), capsys, address, "--archive FILE.zip")
    assert files_below(out) == []


def test_a_full_disk_is_one_line(
    web: Web, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    refused(line("roadscene", out, "--accept_terms"), capsys, "Cannot write", "choose another --out")
    assert files_below(out) == []


def test_a_disk_that_fills_while_unpacking_costs_no_second_download(
    web: Web, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", full)
        refused(
            line("roadscene", out, "--accept_terms"), capsys, "Cannot unpack into", "No space left", "another place"
        )
    assert [Path(name).suffix for name in files_below(out)] == [".zip"]
    accepted(line("roadscene", out, "--accept_terms"), capsys)
    assert len(web.transfers()) == 1


def test_an_unknown_name_is_told_the_known_ones(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    refused(line("rodscene", out), capsys, "rodscene", "roadscene", "llvip")
