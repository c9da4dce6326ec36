"""How the program speaks of itself, and of what installed packages bring to it."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.program import program
from ivif.contracts import class_paths
from ivif.contracts.plugins import METHODS


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("main.py", "python main.py"),
        ("/somewhere/main.py", "python main.py"),
        ("/site-packages/ivif/__main__.py", "python -m ivif"),
        ("/venv/bin/ivif", "ivif"),
        ("/site-packages/pytest/__main__.py", "ivif"),
        ("", "ivif"),
    ],
)
def test_messages_name_the_program_as_it_was_called(called: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert program() == named


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configurations of a package that brings a method."""
    entry = EntryPoint("TinyFusion", "tiny_fusion.task:TinyFusionTask", METHODS)
    monkeypatch.setattr(class_paths, "installed", lambda group: {entry.name: entry} if group == METHODS else {})
    folder = tmp_path / "tiny_fusion" / "configs"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("trainer: {max_epochs: 1}\n")
    monkeypatch.setattr("ivif.commands.parsing.named_files.config_folders", lambda: [folder])
    return folder


def test_the_overview_lists_methods_and_datasets_with_the_package_of_foreign_ones(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert foreign.is_dir()
    assert main(["--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: ivif COMMAND")
    assert "methods ClassicFusionTask, " in said
    assert ", TinyFusion (tiny_fusion) datasets FolderDataModule, " in said


def test_names_of_installed_packages_are_near_too(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rewrite(["fit", "--config", "tiny.yaml"]).arguments == ["fit", "--config", str(foreign / "tiny.yaml")]
    with pytest.raises(UsageError, match=r"none in configs/ or in that of tiny_fusion\. The nearest there: tiny\.yaml"):
        rewrite(["fit", "--config", "tinny.yaml"])
    assert main(["fit", "--config=mgfusion.yaml", "--model=TinyFusio"]) == 1
    assert "The nearest: TinyFusion\n" in capsys.readouterr().err
