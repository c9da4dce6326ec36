"""`predict --shard` and `predict merge` through the command line: all shards together are the undisturbed whole."""

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from ivif.callbacks.prediction_record import RECORD
from ivif.commands.cli import main
from tests.commands.test_predictions import LINE
from tests.disks import full_disk
from tests.inputs import brings
from tests.processes import holder_of
from tests.refusals import accepted, refused

SIZE = 5


def _scenes(folder: Path) -> Path:
    assert main(["data", "scenes", f"--out={folder}", f"--count={SIZE}", "--size=[32,32]"]) == 0
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five generated pairs."""
    return _scenes(tmp_path_factory.mktemp("pairs") / "scenes")


def _classic(scenes: Path, out: Path, *options: str) -> list[str]:
    line = ["predict", "--config=classic.yaml", "--data=folder.yaml", f"--data.root={scenes}", f"--output_dir={out}"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--loading.num_workers=0"]
    return [*line, *quiet, "--trainer.enable_model_summary=false", *options]


def _files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _run(line: Sequence[str], *shards: str) -> None:
    for shard in shards:
        assert main([*line, f"--shard={shard}"]) == 0


def _merge(out: Path) -> list[str]:
    return ["predict", "merge", str(out)]


@brings("options", "`predict --shard 1/3` and its like at once in one folder, then `predict merge`", "works", "")
def test_all_shards_are_the_whole_byte_for_byte(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_alone, out = tmp_path / "whole", tmp_path / "out"
    assert main(_classic(scenes, left_alone)) == 0
    line = _classic(scenes, out)
    _run(line, "2/3", "1/3")
    message = refused(_merge(out), capsys, "1 of the 3 shards", "3/3")
    assert len(message.splitlines()) == 1
    printed = accepted([*line, "--shard=3/3"], capsys)
    assert f"predict merge {shlex.quote(str(out))}" in printed
    assert "are already in" in accepted([*line, "--shard=2/3"], capsys)
    assert f"{SIZE} of 3 shards joined" in accepted(_merge(out), capsys)
    assert _files(out).keys() == _files(left_alone).keys()
    assert (out / RECORD).read_bytes() == (left_alone / RECORD).read_bytes()
    assert _files(out) == _files(left_alone)
    refused(_merge(out), capsys, "has no shards to join")
    assert f"{SIZE} fused images are already" in accepted(line, capsys)  # it is any folder of predict


def test_detections_of_shards_join(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*LINE, "--boxes.yolo=true", "--boxes.draw=true", "--data.init_args.evaluation_length=4"]
    left_alone, out = tmp_path / "whole", tmp_path / "out"
    assert main([*line, f"--output_dir={left_alone}"]) == 0
    _run([*line, f"--output_dir={out}"], "1/2", "2/2")
    assert not (out / "detections.json").exists()
    (lost := sorted((out / "detections").iterdir())[0]).rename(tmp_path / lost.name)
    refused(_merge(out), capsys, f"{lost.stem}.png' or a file that belongs to it is gone", "--shard")
    (tmp_path / lost.name).rename(lost)
    (out / "labels" / ".a-0123.partial").touch()  # of a killed shard
    assert f"Detections: {out / 'detections.json'}" in accepted(_merge(out), capsys)
    assert _files(out) == _files(left_alone)


@brings("options", "`predict --shard 5/4`, or of another number than the folder has", "refused", "one line")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--shard=5/4"], "--shard 5/4: shards are counted from 1"),
        (["--shard=2"], "--shard 2: give which of how many"),
        (["--shard=1/3"], "has shards of 2 (1/2)"),
        (["--shard=2/2", "--model.method=average"], "model.method"),
        (["--shard=2/2", "--grey"], "colour 'rgb' there, 'grey' now"),
        ([], "Go on with --shard"),
    ],
)
def test_what_does_not_fit_to_the_shards_of_a_folder_is_refused(
    options: list[str], named: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _classic(scenes, tmp_path / "out")
    _run(line, "1/2")
    before = _files(tmp_path)
    refused([*line, *options], capsys, named)
    assert _files(tmp_path) == before


def test_shards_need_a_folder_that_they_share(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [word for word in _classic(scenes, tmp_path / "out") if not word.startswith("--output_dir")]
    refused([*line, f"--runs_dir={tmp_path}", "--shard=1/2"], capsys, "--shard 1/2 needs --output_dir")
    assert not list(tmp_path.iterdir())


def test_pairs_that_changed_since_the_shards_began_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _scenes(tmp_path / "scenes")
    line = _classic(root, tmp_path / "out")
    _run(line, "1/1")
    picture = sorted((root / "ir").iterdir())[0]
    content = picture.read_bytes()
    Image.open(picture).resize((16, 16)).save(picture)
    refused([*line, "--shard=1/1"], capsys, f"The files of the pair of '{picture.stem}.png' have changed")
    picture.write_bytes(content)
    for folder in ("ir", "vi"):
        shutil.copy(root / folder / picture.name, root / folder / f"more{picture.suffix}")
    refused([*line, "--shard=1/1"], capsys, f"{SIZE} there, {SIZE + 1} now")


def test_several_shards_write_at_once_and_whole_commands_wait(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = _classic(scenes, out)
    _run(line, "1/2")
    with holder_of(out / "shards" / "1-of-2") as holder:
        (out / ".pair-0.partial").touch()
        _run(line, "2/2")
        assert (out / ".pair-0.partial").exists()  # which may be the other one's
        for command in ([*line, "--shard=1/2"], _merge(out)):
            refused(command, capsys, f"1-of-2' is in use by process {holder.pid}")
    with holder_of(out) as holder:
        for command in ([*line, "--shard=1/2"], _merge(out)):
            refused(command, capsys, f"'{out}' is in use by process {holder.pid}")
    accepted(_merge(out), capsys)
    assert not (out / ".pair-0.partial").exists()


def test_a_full_disk_loses_nothing(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    line, save = [*_classic(scenes, out), "--shard=1/1"], Image.Image.save

    def filling(self: Image.Image, *arguments: object, **options: object) -> None:
        if len(list(out.glob("*.png"))) == 2:
            full_disk(0)
        save(self, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", filling)
        refused(line, capsys, "the disk is full", "Make room, or choose --output_dir")
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert len(kept) == 2
    refused(_merge(out), capsys, "1 of the 1 shards")
    assert "2 fused images are already" in accepted(line, capsys)
    before = _files(out)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        refused(_merge(out), capsys, f"Cannot write '{out / RECORD}': the disk is full")
    assert _files(out) == before
    accepted(_merge(out), capsys)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    (command,) = json.loads((out / RECORD).read_text(encoding="utf-8"))["commands"]
    assert len(command["pictures"]) == SIZE == len(list(out.glob("*.png")))


def test_part_of_a_shard_is_not_done(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*_classic(scenes, tmp_path / "out"), "--shard=1/1"]
    printed = accepted([*line, "--trainer.limit_predict_batches=2"], capsys)
    assert f"Shard 1/1 is not done: {SIZE - 2} of its {SIZE} pictures are left" in printed
    refused(_merge(tmp_path / "out"), capsys, "1 of the 1 shards")
    accepted(line, capsys)
    accepted(_merge(tmp_path / "out"), capsys)


def test_records_that_are_links_out_of_the_folder_are_not_followed(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "shards").symlink_to(tmp_path / "elsewhere")
    refused([*_classic(scenes, out), "--shard=1/2"], capsys, "is a link to")
    refused(_merge(out), capsys, "is a link to")
    assert not list((tmp_path / "elsewhere").iterdir())


@brings("options", "`fuse` of two folders with `--shard 1/2`", "works", "one part of the pictures, to be joined")
def test_fuse_makes_shards_of_two_folders_alone(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["fuse", str(scenes / "ir"), str(scenes / "vi"), f"--out={tmp_path / 'out'}", "--device=cpu"]
    for shard in ("1/2", "2/2"):
        assert f"Shard {shard} is done" in accepted([*line, f"--shard={shard}"], capsys)
    accepted(_merge(tmp_path / "out"), capsys)
    first, second = (str(sorted((scenes / folder).iterdir())[0]) for folder in ("ir", "vi"))
    refused(["fuse", first, second, f"--out={tmp_path / 'a.png'}", "--shard=1/2"], capsys, "are of two folders")


def test_there_must_be_a_folder_to_join(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(_merge(tmp_path / "nowhere"), capsys, "There is no folder")
    refused(_merge(tmp_path), capsys, "has no shards to join")
