"""What commands write: over no file of another kind, whole on a full disk, as the umask says; caches of others."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ivif.callbacks.run_record import environment
from ivif.commands.errors import UsageError
from ivif.commands.report.files import MARK, refuse_others, save_figure, save_picture
from ivif.datamodules.datasets.cache import CachedDataset
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.files.errors import CacheError
from ivif.files.owners import distrust
from ivif.files.whole import whole_file, write_whole
from ivif.lightning_modules.feature_cache import FeatureCache
from tests.commands.runs import tiny_run
from tests.disks import full_disk
from tests.fakes import write_folder
from tests.refusals import accepted, refusal, refused, whole

NOTES: Final = "notes of the user, " * 50


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may have more bytes, as on a disk that is full; SIGXFSZ is ignored by Python."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _commands(place: Path) -> dict[str, tuple[list[str], list[Path]]]:
    """Name -> a command line, and the files that it writes."""
    root = write_folder(place / "data", count=10, size=(32, 40))
    run, out = place / "runs" / "a" / "one", place / "out"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("step,epoch,train/loss\n0,0,1.0\n1,0,0.5\n")
    data = ["--data=folder.yaml", f"--data.init_args.root={root}"]
    folders = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'vi'}", "--metrics=EN"]
    tables = [out / name for name in ("per_image.csv", "summary.csv", "summary.md", "summary.tex", "figure.png")]
    return {
        "score": (["report", "score", *folders, "--classic=false", f"--out={out}"], tables),
        "curves": (
            ["report", "run", str(run), f"--curves={out / 'c.png'}", f"--out={out / 'c.html'}"],
            [out / "c.png"],
        ),
        "run": (["report", "run", str(run), f"--out={out / 'r.html'}"], [out / "r.html"]),
        "check": (["data", "check", *data, f"--out={out}"], [out / "report.txt", out / "contact_sheet.png"]),
    }


NAMES: Final = ["score", "curves", "run", "check"]


@pytest.mark.parametrize("name", NAMES)
def test_reports_replace_reports_and_nothing_else(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, files = _commands(place)[name]
    accepted(command, capsys)
    accepted(command, capsys)
    for path in files:
        written = path.read_bytes()
        path.write_text(NOTES)
        refused(command, capsys, f"'{path}' is there", "--overwrite true")
        assert path.read_text() == NOTES
        path.write_bytes(written)
    files[-1].write_text(NOTES)
    accepted([*command, "--overwrite=true"], capsys)
    assert NOTES.encode() not in files[-1].read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_one_line_and_leaves_old_files_whole(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, files = _commands(place)[name]
    accepted(command, capsys)
    before = {path: path.read_bytes() for path in files}
    monkeypatch.setattr("os.fsync", full_disk)
    message = refused(command, capsys, "Cannot write", "the disk is full")
    assert any(f"'{path}'" in message for path in files)
    assert {path: path.read_bytes() for path in files} == before
    assert not list((place / "out").glob(".*"))


@pytest.mark.parametrize("name", NAMES)
def test_on_a_full_disk_no_folder_stays_that_was_made_for_results(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, _ = _commands(place)[name]
    before = whole(place)
    monkeypatch.setattr("os.fsync", full_disk)
    refused(command, capsys, "Cannot write", "the disk is full")
    assert whole(place) == before


@pytest.mark.parametrize("command", ["scenes", "prompts", "predict"])
def test_a_quota_is_one_line_that_names_the_file(command: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "out"
    root = write_folder(place / "data", count=10, size=(96, 128))
    data = ["--data=folder.yaml", f"--data.init_args.root={root}"]
    predict = ("--allow_random_weights", f"--output_dir={out}", "--data.init_args.predict_stage=all")
    line = {
        "scenes": ["data", "scenes", f"--out={out}", "--count=2"],
        "prompts": ["data", "prompts", *data, "--by=dataset", f"--out={out / 'p.jsonl'}"],
        "predict": tiny_run("predict", place / "runs", *predict, data=tuple(data)),
    }[command]
    environment()  # asks git, which the limit would kill in the middle of a write; it is asked once in a process
    # of predict, the small records fit and the pictures do not
    with small_files({"scenes": 4000, "prompts": 100, "predict": 4000}[command]):
        message = refused(line, capsys, "Cannot write", str(out))
    assert "--runs_dir" not in message
    assert not list(out.rglob(".*.partial"))


def test_an_error_names_the_file_and_not_its_temporary_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a.txt").write_text("old")
    (place / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="'" + str(place / "folder") + "'$"):
        write_whole(place / "folder", b"new")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match=r"a\.txt'$") as caught, whole_file(place / "a.txt") as stream:
        stream.write(b"new")
    assert caught.value.errno == errno.ENOSPC
    assert (place / "a.txt").read_text() == "old"
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "folder"]


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(mask: int, mode: int, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with umask(mask):
        accepted(["data", "scenes", f"--out={place / 'scenes'}", "--count=1", "--size=[48,64]"], capsys)
        write_whole(place / "table.csv", b"a")
        save_picture(Image.new("RGB", (4, 4)), place / "sheet.png")
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "pdf", "svg"])
def test_written_pictures_are_known_again(ending: str, place: Path) -> None:
    path = place / f"a.{ending}"
    if ending in ("pdf", "svg"):
        save_figure(Figure(), path, dpi=50)
    else:
        save_picture(Image.new("RGB", (4, 4)), path)
    assert MARK.encode() in path.read_bytes()
    refuse_others([path], overwrite=False)


@pytest.mark.parametrize("name", ["README.md", "docs/dashboards.md", "main.py"])
def test_the_project_s_own_pages_are_no_reports(name: str) -> None:
    path = Path(__file__).resolve().parents[2] / name
    refusal(lambda: refuse_others([path], overwrite=False), UsageError, str(path), "--overwrite true")


def test_scenes_are_not_written_among_other_pictures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("vi", "labels"):
        out = place / folder
        (out / folder).mkdir(parents=True)
        (out / folder / "mine.png").write_bytes(b"mine")
        refused(["data", "scenes", f"--out={out}", "--count=1"], capsys, str(out / folder), "other pictures (1)")


class _OfAnother:
    """What `os.stat` says of a file that another user owns."""

    def __init__(self, uid: int, mode: int) -> None:
        self.st_uid, self.st_mode = uid, mode


def test_whose_files_are_trusted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "a"
    path.touch()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for uid, mode, word in ((1000, 0o664, ""), (0, 0o644, ""), (1001, 0o600, "another user"), (1000, 0o666, "o-w")):
        monkeypatch.setattr(Path, "stat", partial(_OfAnother, uid, mode))
        assert word in distrust(path)
        assert bool(distrust(path)) == bool(word)
    monkeypatch.undo()
    assert distrust(place / "missing") == ""


@pytest.mark.parametrize("which", ["folder", "file"])
def test_decoded_pairs_that_others_can_write_are_not_read(which: str, place: Path) -> None:
    reader = FolderDataset(write_folder(place / "data", count=2, size=(24, 32)))
    folder = place / "cache"
    built = CachedDataset(reader, "disk", folder)
    assert built.path is not None
    before = built.path.stat().st_ino
    (folder if which == "folder" else built.path).chmod(0o777)
    if which == "folder":
        build = lambda: CachedDataset(reader, "disk", folder)  # noqa: E731
        refusal(build, CacheError, str(folder), "chmod o-w", "loading.cache_dir")
        return
    again = CachedDataset(reader, "disk", folder)
    assert torch.equal(again[0]["visible"], reader[0]["visible"])
    assert built.path.stat().st_ino != before, "built anew"


@pytest.mark.parametrize("which", ["folder", "file"])
def test_features_that_others_can_write_are_computed_again(
    which: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def compute(positions: list[int]) -> torch.Tensor:
        calls.extend(positions)
        return torch.ones(len(positions), 3)

    def look_up() -> torch.Tensor:
        return FeatureCache(place / "features", "tiny@1", (3,)).get_or_compute(["a"], "full", compute)

    look_up()
    (file,) = (place / "features").rglob("*.safetensors")
    look_up()
    assert calls == [0]
    (file if which == "file" else file.parents[1]).chmod(0o777)
    assert torch.equal(look_up(), torch.ones(1, 3))
    assert calls == [0, 0]
    assert "feature_cache FOLDER" in caplog.text
    assert stat.S_IMODE(file.stat().st_mode) == (0o777 if which == "file" else 0o644)
