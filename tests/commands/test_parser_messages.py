"""What a wrong option is answered with: what is wrong, and the nearest that there is."""

from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.errors import readable
from ivif.commands.parsing.messages import explain
from tests.inputs import brings
from tests.refusals import refused

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
            ["model.network.chanels: there is no such option, but there is model.network.channels"],
        ),
        (["--qqqqqq", "x"], ["qqqqqq: there is no such option"]),
        (["nothing.yaml"], ["'nothing.yaml' belongs to no option"]),
        (["mgfusion.yaml"], ["'mgfusion.yaml' belongs to no option: it is given as --config mgfusion.yaml"]),
        (["tno.yaml"], ["'tno.yaml' belongs to no option: it is given as --data tno.yaml"]),
        pytest.param(
            ["--max_steps=3", "--batch_size", "4", "--loss.intensity=3", "--clip=x", "--root", "x", "--batchsize=3"],
            [
                "max_steps: there is no such option, but there is trainer.max_steps",
                "batch_size: there is no such option, but there is loading.batch_size",
                "loss.intensity: there is no such option, but there is model.loss.intensity",
                "clip: there is no such option, but there is model.clip",
                "root: there is no such option, but there is data.root",
                "batchsize: there is no such option, but there is loading.batch_size",
            ],
            marks=brings(
                "options",
                "an option by its last part alone (`--max_steps`, `--clip`)",
                "refused",
                "its name is said",
            ),
        ),
        pytest.param(
            ["--lr=3", "--ckpt=x", "--output", "x", "--seed=3", "--weights=x"],
            [
                "lr: there is no such option, but there is model.schedule.peak",
                "ckpt: there is no such option, but there is ckpt_path",
                "output: there is no such option, but there is output_dir",
                "seed: there is no such option, but there is seed_everything, loading.seed",
                "weights: there is no such option, but there is ckpt_path, model.clip.weights",
            ],
            marks=brings(
                "options", "an option as it is called elsewhere (`--lr`, `--ckpt`)", "refused", "its name here is said"
            ),
        ),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(
    arguments: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", METHOD, *arguments]) == 1
    assert capsys.readouterr().err.removeprefix("error: ").splitlines()[:-1] == lines


def test_a_method_with_levels_has_several_rates(capsys: pytest.CaptureFixture[str]) -> None:
    named = "lr: there is no such option, but there is model.lower.schedule.peak, model.upper.schedule.peak\n"
    refused(["fit", "--config=text_to_pixels.yaml", "--lr=3"], capsys, named)


def test_other_commands_too(capsys: pytest.CaptureFixture[str]) -> None:
    refused(
        ["data", "check", "--data=tno.yaml", "--output=x"],
        capsys,
        "output: there is no such option, but there is out\n",
    )
    refused(["test", "--data=tno.yaml", "--ckpt=x"], capsys, "ckpt: there is no such option, but there is ckpt_path\n")


def test_in_a_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text("trainer: {max_epoch: 3}\n")
    assert main(["fit", METHOD, f"--config={tmp_path / 'own.yaml'}"]) == 1
    assert "trainer.max_epoch: there is no such option, but there is trainer.max_epochs" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--data.class_path", "TNO2"], ["--data=TNO2"]])
def test_an_unknown_class_is_shown_as_it_was_given(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", METHOD, *arguments]) == 1
    message = capsys.readouterr().err
    assert (
        "data: expected a FusionDataModule, or a file that holds one, got TNO2. The nearest: TNODataModule" in message
    )


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("{class_path: mgfusiontask2}", "The nearest: MGFusionTask"),
        ("{class_path: ivif.lightning_modules.mgfusion.MGFusionTsk}", "The nearest: MGFusionTask"),
        ("7", "got 7. Known: ClassicFusionTask, DetectionTask, MGFusionTask, "),
    ],
)
def test_an_unknown_class_in_a_file_too(
    value: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(f"model: {value}\n")
    refused(["fit", METHOD, f"--config={tmp_path / 'own.yaml'}"], capsys, "error: model: ", named)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--transforms.resize=[8]", "transforms.resize: expected a list of 2 elements (each a whole number) or null, "),
        ("--transforms.flip=up", "transforms.flip: expected true or false or one of 'horizontal', got up"),
        ("--model.init_args.clip=[1]", "model.clip: expected a text or a mapping of its options, got [1]"),
        ("--trainer.callbacks=[Nothing]", "trainer.callbacks: expected a list or a Callback or null, got ['Nothing']"),
        (
            "--trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitr: x}}]",
            "trainer.callbacks.monitr: there is no such option, but there is trainer.callbacks.monitor\n",
        ),
        ("--data.init_args.prompts={source: x}", "data.prompts.source: expected one of 'none', 'coarse', "),
        ("--on_non_finite=x", "on_non_finite: expected one of 'stop', 'skip', got x"),
        ("--trainer.max_epochs=null", ""),
    ],
)
def test_the_type_of_an_option_says_what_was_expected(
    option: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", METHOD, "--data=synthetic.yaml", option, "--print_config"]
    if expected:
        assert refused(arguments, capsys).startswith(f"error: {expected}")
    else:
        with pytest.raises(SystemExit, match="0"):
            main(arguments)


def test_a_constructor_inside_a_list_says_itself_what_is_wrong() -> None:
    message = (
        "Does not validate against any of the Union subtypes\nSubtypes: [a, b]\nErrors:\n"
        "  - Not a valid subclass of Logger\n    Subclass types expect one of:\n    - a class path (str)\n"
        "  - Does not validate against any of the Union subtypes\n    Subtypes: [c, d]\n    Errors:\n"
        "      - Expected a <class 'bool'>\n      - size is 3.\n        Make it 4.\n    Given value type: x\n"
        "    Given value: 3\n  - Expected a <class 'NoneType'>\nGiven value type: y\nGiven value: [3]"
    )
    assert readable(message) == "size is 3.\nMake it 4."


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fit"], "no method is given: add --config FILE, for instance --config mgfusion.yaml"),
        (["data", "check"], "no data are given: add --data FILE, for instance --data folder.yaml"),
        (["report", "score"], "fused: needed, and not given"),
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
    options = dict.fromkeys(["trainer.max_steps", "root"])
    assert str(explain("unrecognized arguments: --qqqq 3", options)).startswith("qqqq: there is no such option\n")
    assert str(explain("another message", options)).startswith("another message\n")
    assert "rot: there is no such option, but there is root\n" in str(
        explain("unrecognized arguments: --rot=3", options)
    )
