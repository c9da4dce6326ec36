"""`data scenes`: files that `data check` and the folder reader take."""

import shlex
from pathlib import Path

import pytest
import torch

from ivif.commands.cli import main
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from tests.inputs import brings
from tests.refusals import refused, whole


def test_scenes_read_back_as_what_was_generated(tmp_path: Path) -> None:
    assert main(["data", "scenes", "--out", str(tmp_path), "--count", "3", "--size", "[48, 64]", "--seed", "5"]) == 0
    scenes = SyntheticDataset(3, (48, 64), 5)
    read = FolderDataset(tmp_path, layout=FolderLayout(labels="labels"), classes=scenes.classes)
    assert read.names == sorted(scenes.names)
    for index in range(3):
        scene = scenes[index]
        sample = read[read.names.index(scene["name"])]
        assert torch.equal(sample["infrared"], scene["infrared"])
        assert torch.equal(sample["visible"], scene["visible"])
        assert torch.equal(sample["targets"]["labels"], scene["targets"]["labels"])
        assert torch.allclose(sample["targets"]["boxes"], scene["targets"]["boxes"], atol=1e-2)


def test_the_command_that_it_names_finds_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "scenes", f"--out={tmp_path / 'mine'}", "--count=10", "--size=[48,64]"]) == 0
    line = capsys.readouterr().out.splitlines()[1].strip().removeprefix("ivif ")
    assert main([*shlex.split(line), f"--out={tmp_path / 'check'}"]) == 0
    shown = capsys.readouterr().out
    assert "12 pairs checked, no problems" in shown  # 8 to train on; 2 that are both validation and test
    assert "lamp" in shown


def test_a_folder_with_other_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["data", "scenes", f"--out={tmp_path}", "--size=[48,64]"]
    assert main([*line, "--count=3"]) == 0
    assert main([*line, "--count=3", "--seed=1"]) == 0
    assert main([*line, "--count=2"]) == 1
    assert "holds other pictures (1)" in capsys.readouterr().err


@brings(
    "options",
    "`data scenes` beside a `classes.txt` of other classes",
    "refused",
    "both lists are named, nothing is written",
)
def test_another_list_of_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("bus\ntruck\n")
    before = whole(tmp_path)
    refused(["data", "scenes", f"--out={tmp_path}", "--size=[48,64]"], capsys, "classes.txt", "bus, truck", "lamp")
    assert whole(tmp_path) == before


def test_too_small_scenes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "scenes", f"--out={tmp_path}", "--size=[16,64]"]) == 1
    assert "at least 32 pixels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
