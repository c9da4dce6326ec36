"""Command lines as people type them."""

import re
import shlex
from pathlib import Path

import pytest

from ivif.commands.errors import UsageError, readable
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.named_files import find_config
from ivif.configs import CONFIGS
from tests.inputs import brings


def test_bare_names_are_found_among_the_committed_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = rewrite(["fit", "--config", "mgfusion.yaml", "--config=mgfusion_cpu.yaml", "--data", "tno.yaml"])
    assert line.arguments == [
        "fit",
        "--config",
        str(CONFIGS / "mgfusion.yaml"),
        "--config",
        str(CONFIGS / "mgfusion_cpu.yaml"),
        "--data",
        str(CONFIGS / "data" / "tno.yaml"),
    ]


def test_a_file_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mgfusion.yaml").write_text("{}")
    assert find_config("--config", "mgfusion.yaml") == "mgfusion.yaml"


@brings("options", "a file for another option (`--config tno.yaml`)", "refused", "the option that takes it is said")
@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--config", "tno.yaml", "--data tno.yaml"),
        ("--config", "mgfusion_text", None),
        ("--config", "mgfusion_cpu", "--config mgfusion_cpu.yaml"),
        ("--config", "TNODataModule", "--data TNODataModule"),
        ("--config", "MGFusionTask", "--model MGFusionTask"),
        ("--config", "both.yaml", "--trainer.logger both.yaml"),
        ("--data", "tno", "--data tno.yaml"),
        ("--data", "MGFusionTask", "--model MGFusionTask"),
        ("--model", "mgfusion", "--config mgfusion.yaml"),
        ("--model", "tno.yaml", "--data tno.yaml"),
    ],
)
def test_what_another_option_takes_is_given_to_that(option: str, value: str, meant: str | None) -> None:
    with pytest.raises(UsageError, match=f": it is given as {re.escape(meant)}\\.$" if meant else "no such file here"):
        find_config(option, value)


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--config", "data/tno.yaml", "chooses one part, TNODataModule. --data tno.yaml"),
        ("--config", "own.yaml", "chooses one part, my.Own. --PART own.yaml"),
        ("--data", "mgfusion.yaml", "is a whole configuration. --config mgfusion.yaml"),
        ("--model", "mgfusion_cpu.yaml", "is a whole configuration. --config mgfusion_cpu.yaml"),
        ("--config", "sweeps/mgfusion.yaml", "is a sweep of W&B. wandb sweep mgfusion.yaml"),
    ],
)
def test_a_file_of_another_kind_is_known_by_its_content(
    option: str, value: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("class_path: my.Own\n")
    with pytest.raises(UsageError) as refused:
        rewrite(["fit", option, value])
    said, _, advised = str(refused.value).partition(" Give it as: ")
    words = shlex.split(advised)
    assert Path(words[-1]).is_file()
    assert f"{said} {' '.join(Path(word).name for word in words)}".endswith(meant)


@brings("options", "`--model.clip`, `--data.root`: options of a method or dataset", "works", "no `init_args` is needed")
@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("--model.clip=x", "--model.init_args.clip=x"),
        ("--data.reading.labels=false", "--data.init_args.reading.labels=false"),
        ("--model.init_args.clip=x", "--model.init_args.clip=x"),
        ("--model.class_path=X", "--model.class_path X"),
        ("--model.crops.size=null", '--model.init_args.crops={"size": null}'),
    ],
)
def test_options_have_a_short_form(short: str, long: str) -> None:
    assert " ".join(rewrite(["fit", short]).arguments) == f"fit {long}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--model.help", "MGFusionTask"], "ivif.lightning_modules.mgfusion.MGFusionTask"),
        (["--data.help=TNODataModule"], "ivif.datamodules.tno.TNODataModule"),
        (["--config", "detection.yaml", "--model.help"], "ivif.lightning_modules.detection.DetectionTask"),
    ],
)
def test_help_of_a_class_takes_its_name(arguments: list[str], named: str) -> None:
    assert rewrite(["fit", *arguments]).arguments[-1] == named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.help", "Nothing"], r"--model\.help: there is no class Nothing\. Known: .*MGFusionTask"),
        (["--data.help"], r"--data\.help: name a class\. Known: .*TNODataModule"),
        (["--data.help", "MGFusionTask"], r"there is no class MGFusionTask\. Known: Folder"),
    ],
)
def test_help_of_an_unknown_class_names_those_that_there_are(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rewrite(["fit", *arguments])


def test_class_paths_pass_through() -> None:
    assert find_config("--data", "ivif.datamodules.tno.TNODataModule") == "ivif.datamodules.tno.TNODataModule"


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--config", "mgfusio.yaml", r"nearest there: mgfusion\.yaml"),
        ("--config", "text_to_pixel_cpu", r"nearest there: text_to_pixels_cpu\.yaml"),
        ("--data", "configs/msr.yaml", r"nearest there: data/msrs\.yaml"),
        ("--config", "qqqq.yaml", r"none in configs/\. See configs/ for all"),
        ("--data", "nowhere.yaml", r"none in configs/\. See configs/data/ for all"),
    ],
)
def test_an_unknown_file_names_the_nearest(option: str, value: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as refused:
        rewrite(["fit", option, value])
    assert str(refused.value).count(".yaml") <= 4


def test_a_resumed_run_needs_a_configuration_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UsageError, match=r"--resume '.*config\.yaml': the file is empty"):
        rewrite(["fit", "--resume", str(tmp_path)])


def test_resume_takes_configuration_and_checkpoint_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "config.yaml").write_text("run_name: tiny")
    line = rewrite(["fit", "--resume", str(tmp_path), "--trainer.max_epochs", "3"])
    assert line.resume == tmp_path
    assert line.arguments == [
        "fit",
        "--config",
        str(tmp_path / "config.yaml"),
        "--trainer.max_epochs",
        "3",
        "--ckpt_path",
        str(tmp_path / "checkpoints" / "last.ckpt"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--resume"], "needs the folder"),
        (["test", "--resume", "x"], "use it with fit"),
        (["fit", "--resume", "x"], "x"),
    ],
)
def test_what_cannot_be_resumed_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rewrite(arguments)


def test_a_loaders_traceback_is_cut_to_its_message() -> None:
    message = (
        "Caught UnreadableFileError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        "  File x, line 1\ndatamodules.datasets.errors.UnreadableFileError: Cannot read 'a.png': truncated."
    )
    assert readable(message) == "Cannot read 'a.png': truncated."


@pytest.mark.parametrize("form", [["--model.init_args.crops.size=null"], ["--model.init_args.crops.size", "null"]])
def test_a_nested_null_is_given_inside_its_parent(form: list[str]) -> None:
    assert rewrite(["fit", *form]).arguments == ["fit", '--model.init_args.crops={"size": null}']


def test_other_nulls_stay_as_they_are() -> None:
    plain = ["fit", "--model.init_args.clip=null", "--transforms.crop=null", "--model.init_args.crops.size=12"]
    assert rewrite(plain).arguments == plain
