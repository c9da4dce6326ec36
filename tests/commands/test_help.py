"""What `--help` tells a user: what can be named, and nothing that only a programmer reads."""

import pytest

from ivif.commands.cli import check_command, main
from ivif.commands.errors import UsageError
from ivif.commands.parsing.help_texts import described
from ivif.contracts.class_paths import known_names
from ivif.contracts.plugins import DATASETS, METHODS
from tests.inputs import brings

FOR_PROGRAMMERS = ("<class", "<function", "<locals>", "init_args.", "ivif.lightning_modules.base", "ivif.datamodules.b")


def _help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    return capsys.readouterr().out


@brings("options", "`fit --help`", "works", "every method and dataset with a line about it")
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_methods_and_data_are_listed_with_a_line_each(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = _help([command, "--help"], capsys)
    for group in (METHODS, DATASETS):
        for name, says in described(group).items():
            assert f"  {name:22} {says}\n" in text
    assert not [word for word in FOR_PROGRAMMERS if word in text]
    assert "--loading.batch_size" in text


def test_data_are_listed_where_they_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(["data", "check", "--help"], capsys)
    assert "  TNODataModule          Grey pairs of military scenes" in text
    assert "MGFusionTask" not in text


@brings(
    "options", "`fit --model.help MGFusionTask`, `fit --data.help TNODataModule`", "works", "the options of one class"
)
@pytest.mark.parametrize(
    ("option", "name", "one"),
    [("--model.help", "MGFusionTask", "--model.loss.intensity"), ("--data.help", "TNODataModule", "--data.root")],
)
def test_a_class_lists_its_options(option: str, name: str, one: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(["fit", option, name], capsys)
    assert one in text
    assert not [word for word in (*FOR_PROGRAMMERS[:4], "PromptFusionTask") if word in text]


def test_every_line_says_something_and_fits() -> None:
    for group in (METHODS, DATASETS):
        found = described(group)
        assert found.keys() == known_names(group).keys()
        assert all(10 < len(line) < 110 and "`; see" not in line for line in found.values())


def test_help_without_a_command_advises_one() -> None:
    with pytest.raises(UsageError, match=r" fit --model\.help MGFusionTask$"):
        check_command(["--model.help", "MGFusionTask"])
