"""Command lines as people type them."""

from pathlib import Path

import pytest

from ivif.commands.errors import UsageError, readable
from ivif.commands.parsing.command_line import find_config, rewrite
from ivif.configs import CONFIGS


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
        ("--config", "synthetic.yaml", r"none in configs/\. See configs/ for all"),
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
