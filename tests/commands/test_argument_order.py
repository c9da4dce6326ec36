"""What wins where a command line says a thing twice: later files over earlier ones, and options over files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.parsing.order import in_order
from ivif.configs import CONFIGS

METHOD = "ivif.lightning_modules.mgfusion.MGFusionTask"


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *arguments, "--print_config"])
    assert stopped.value.code == 0
    shown: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "configs/data/tno.yaml", "-c", "mgfusion.yaml"],
        [
            "--data.class_path=ivif.datamodules.tno.TNODataModule",
            "--data.init_args.root=data/TNO",
            "--config=mgfusion.yaml",
        ],
    ],
)
def test_data_given_before_a_file_win_over_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    shown = _shown(arguments, capsys)
    assert shown["data"]["class_path"] == "ivif.datamodules.tno.TNODataModule"
    assert shown["data"]["init_args"]["root"] == "data/TNO"


def test_options_win_over_every_file_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_epochs=7", "--data.init_args.root=elsewhere", "--model.init_args.network.channels=64"]
    shown = _shown([*options, "--data=msrs.yaml", "--config=mgfusion.yaml", "--config=mgfusion_cpu.yaml"], capsys)
    assert shown["trainer"]["max_epochs"] == 7
    assert shown["data"]["class_path"].endswith("MSRSDataModule")
    assert shown["data"]["init_args"]["root"] == "elsewhere"
    assert shown["model"]["init_args"]["network"]["channels"] == 64
    assert shown["model"]["init_args"]["network"]["blocks"] == 1


def test_order_within_a_kind_stays() -> None:
    given = "fit --trainer.devices 2 --config a --data c --seed=1 --config b --data d"
    ordered = "fit --config a --config b --data c --data d --trainer.devices 2 --seed=1"
    assert in_order(given.split()) == ordered.split()


def test_a_long_text_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    names = ", ".join(f"class{number}" for number in range(60))
    data = f"{{class_path: ivif.datamodules.folder.FolderDataModule, init_args: {{root: data, classes: [{names}]}}}}"
    shown = _shown(["--data", data, "--config", "mgfusion.yaml"], capsys)
    assert shown["data"]["init_args"]["classes"][-1] == "class59"


def test_a_preset_takes_its_method_from_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    preset = str(CONFIGS / "mgfusion_cpu.yaml")
    given = [f"--model={METHOD}", f"--config={preset}", "--data=tno.yaml"]
    shown = _shown(given, capsys)
    assert shown["model"]["class_path"] == METHOD
    assert shown["model"]["init_args"]["network"]["channels"] == 16
    form = ["--model.class_path", METHOD]
    assert in_order(["fit", "--config", preset, *form]) == ["fit", *form, "--config", preset, *form]


def test_a_preset_before_its_method_says_the_order() -> None:
    preset, method = str(CONFIGS / "mgfusion_cpu.yaml"), str(CONFIGS / "mgfusion.yaml")
    message = (
        r"mgfusion_cpu\.yaml: .*Put the method's file first: --config \S*mgfusion\.yaml --config \S*mgfusion_cpu\.yaml"
    )
    with pytest.raises(UsageError, match=message):
        in_order(["fit", "--config", preset, "--config", method])
    with pytest.raises(UsageError, match=message):
        in_order(["fit", "--config", preset])
    assert in_order(["fit", "--config", method, "--config", preset])[2] == method


def test_a_file_of_options_alone_names_no_model(tmp_path: Path) -> None:
    options = _write(tmp_path / "options.yaml", "init_args: {clip: compact}\n")
    preset = _write(tmp_path / "preset.yaml", "model: {init_args: {clip: tiny}}\n")
    with pytest.raises(UsageError, match=r"or --model CLASS"):
        in_order(["fit", "--model", options, "--config", preset])
