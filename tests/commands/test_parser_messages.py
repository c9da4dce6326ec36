"""What a wrong option is answered with: what is wrong, and the nearest that there is."""

from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.parsing.messages import explain, with_nearest

METHOD = "--config=mgfusion.yaml"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["--trainer.max_step", "3"],
            ["trainer.max_step: there is no such option, but there is trainer.max_steps"],
        ),
        (
            ["--trainer.max_step=-3", "--loading.batchsize", "-4"],
            [
                "trainer.max_step: there is no such option, but there is trainer.max_steps",
                "loading.batchsize: there is no such option, but there is loading.batch_size",
            ],
        ),
        (
            ["--model.init_args.network.chanels=3"],
            ["model.init_args.network.chanels: there is no such option, but there is model.init_args.network.channels"],
        ),
        (["--qqqqqq", "x"], ["qqqqqq: there is no such option"]),
        (["mgfusion.yaml"], ["'mgfusion.yaml' belongs to no option"]),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(
    arguments: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", METHOD, *arguments]) == 1
    assert capsys.readouterr().err.removeprefix("error: ").splitlines()[:-1] == lines


def test_in_a_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text("trainer: {max_epoch: 3}\n")
    assert main(["fit", METHOD, f"--config={tmp_path / 'own.yaml'}"]) == 1
    assert "trainer.max_epoch: there is no such option, but there is trainer.max_epochs" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--data.class_path", "TNO2"], ["--data=TNO2"]])
def test_an_unknown_class_is_shown_as_it_was_given(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", METHOD, *arguments]) == 1
    message = capsys.readouterr().err
    assert "data: 'TNO2' is neither a file here or in configs/, nor a class" in message
    assert "ivif.datamodules.tno.TNODataModule" in message
    assert "NestedArg" not in message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fit"], "--config configs/mgfusion.yaml"),
        (["data", "check"], "--data configs/data/folder.yaml"),
        (["report", "score"], "not given: --infrared, --visible, --fused"),
        (["report", "score", "--infared", "x"], "there is infrared"),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert named in message
    assert "required" not in message


def test_nothing_near_adds_nothing() -> None:
    message = "unrecognized arguments: --qqqq 3"
    assert with_nearest(message, ["trainer.max_steps"]) == message
    assert with_nearest("another message", ["another"]) == "another message"
    assert explain(with_nearest("unrecognized arguments: --rot=3", ["root"])).endswith("there is root")
