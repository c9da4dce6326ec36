"""A checkpoint brings the settings that it was trained with to the commands that use it."""

import logging
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import yaml

from ivif.callbacks.run_record import RECORD_KEY
from ivif.commands.cli import main
from ivif.commands.errors import UsageError
from ivif.commands.parsing.checkpoint_settings import stored_configuration
from ivif.commands.parsing.command_line import rewrite
from tests.commands.runs import QUIET, newest_run, tiny_run
from tests.inputs import brings
from tests.refusals import refused

STORED: Final[dict[str, Any]] = {
    "model": {
        "class_path": "DetectionTask",
        "init_args": {
            "source": {"kind": "infrared", "checkpoint": None},
            "detector": {"architecture": "yolov5n", "weights": "/nowhere/yolov5n.pt", "image_size": 64},
        },
    },
    "data": {"class_path": "MSRSDataModule", "init_args": {"root": "/nowhere/MSRS", "manifest": "default"}},
    "transforms": {"crop": None, "resize": [64, 96], "test_resize": [32, 48], "mosaic": 0.5},
    "evaluator": {"convention": "vifb", "metrics": ["EN"], "test_metrics": ["EN"], "classic_rows": False},
    "trainer": {"devices": 8, "precision": "bf16-mixed", "max_steps": 7, "default_root_dir": "/nowhere"},
    "loading": {"batch_size": 3, "cache": "disk", "cache_dir": "/nowhere/cache"},
    "wandb": "online",
    "run_name": "theirs",
    "runs_dir": "/nowhere/runs",
    "seed_everything": 5,
    "output_dir": "/nowhere/out",
    "matmul_precision": "high",
}
"""The configuration of a run, as its checkpoint has it."""


def _checkpoint(path: Path, config: Any = STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = (
        {} if config is None else {RECORD_KEY: {"config": config if isinstance(config, str) else yaml.dump(config)}}
    )
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", **record}, path)
    return path


def _taken(*arguments: str) -> Any:
    """What a command line takes from its checkpoint; None if that is nothing."""
    line = rewrite(arguments).arguments
    return yaml.safe_load(line[2]) if line[1] == "--config" and "\n" in line[2] else None


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_what_belongs_to_the_method_is_taken_and_nothing_else(command: str, tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "a.ckpt")
    model = yaml.safe_load(yaml.dump(STORED["model"]))
    model["init_args"]["detector"]["weights"] = None  # the checkpoint has them
    assert _taken(command, f"--ckpt_path={path}") == {
        "model": model,
        "data": STORED["data"],
        "transforms": {"resize": [64, 96], "test_resize": [32, 48]},
        "evaluator": {"convention": "vifb"},
    }


def test_a_run_that_was_trained_with_one_sentence_keeps_it(tmp_path: Path) -> None:
    data = {"class_path": "MSRSDataModule", "init_args": {"prompts": {"source": "coarse", "sentence": "Streets."}}}
    path = _checkpoint(tmp_path / "a.ckpt", STORED | {"data": data})
    assert _taken("test", f"--ckpt_path={path}")["data"] == data


def test_its_data_give_way_to_other_data_and_not_to_their_options(tmp_path: Path) -> None:
    path = str(_checkpoint(tmp_path / "a.ckpt"))
    assert "data" not in _taken("test", "--ckpt_path", path, "--data", "tno.yaml", "--data.root", "x")
    assert "data" not in _taken("test", "--ckpt_path", path, "--data=TNODataModule")
    assert _taken("test", "--ckpt_path", path, "--data.root", "x")["data"] == STORED["data"]


@pytest.mark.parametrize("naming", [["--config", "detection.yaml"], ["--model", "DetectionTask"]])
def test_who_names_a_method_says_all_of_it(naming: list[str], tmp_path: Path) -> None:
    assert _taken("test", *naming, f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt')}") is None


def test_a_preset_changes_what_the_checkpoint_says(tmp_path: Path) -> None:
    line = rewrite(["test", "--config=detection_cpu.yaml", f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt')}"]).arguments
    assert [yaml.safe_load(line[2])["model"]["class_path"], Path(line[4]).name] == [
        "DetectionTask",
        "detection_cpu.yaml",
    ]


def test_training_takes_nothing(tmp_path: Path) -> None:
    assert _taken("fit", f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt')}", "--config=detection.yaml") is None


@brings("options", "a checkpoint without settings of its own, in its run folder", "works", "those of its `config.yaml`")
def test_a_checkpoint_without_settings_has_those_of_its_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.dump(STORED), encoding="utf-8")
    path = _checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", None)
    assert _taken("test", f"--ckpt_path={path}")["evaluator"] == {"convention": "vifb"}
    assert _taken("test", f"--run={tmp_path / 'run'}")["evaluator"] == {"convention": "vifb"}
    moved = path.rename(tmp_path / "run" / "last.ckpt")
    assert stored_configuration(moved) is None


def test_a_link_out_of_the_run_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(yaml.dump(STORED), encoding="utf-8")
    path = _checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", None)
    (tmp_path / "run" / "config.yaml").symlink_to(tmp_path / "other.yaml")
    assert stored_configuration(path) is None


@brings(
    "options",
    "a checkpoint without settings anywhere",
    "refused",
    "the message asks for `--config` and the options of its training",
)
@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "a: [",
        "model: 3",
        "model: {class_path: 3}",
        "model: {class_path: MGFusionTask, init_args: 3}",
        "&a [*a]",
        3,
    ],
)
def test_a_checkpoint_without_any_settings_says_what_to_give(config: Any, tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "a.ckpt", config)
    with pytest.raises(
        UsageError, match=r"a\.ckpt: it holds no configuration .* --config METHOD\.yaml and the options"
    ):
        rewrite(["test", f"--ckpt_path={path}"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ckpt_path=none.ckpt"], r"none\.ckpt: there is no such file"),
        (["--ckpt_path=last"], "has no checkpoints yet"),
        (["--run=nowhere"], r"nowhere/checkpoints/last\.ckpt' is missing"),
        (["--run"], "--run needs the folder of a run"),
        (["--run=nowhere", "--ckpt_path=a.ckpt"], "give one of them"),
    ],
)
def test_what_cannot_be_used_is_said(options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rewrite(["test", *options])


def test_training_goes_on_by_another_option() -> None:
    with pytest.raises(UsageError, match=r"--run is for validate, test and predict\. fit goes on with --resume"):
        rewrite(["fit", "--run", "x"])


def test_trust_is_never_taken_of_a_checkpoint(tmp_path: Path) -> None:
    clip = {"pretrained": "openai", "weights": "theirs.pt", "trust_archive": True}
    model = {"class_path": "MGFusionTask", "init_args": {"clip": clip, "parts": [{"trust_archive": True}]}}
    found = _taken("test", f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt', {'model': model})}")
    assert found["model"]["init_args"] == {"clip": {"pretrained": "openai", "weights": "theirs.pt"}, "parts": [{}]}


@pytest.mark.parametrize("name", ["subprocess.Popen", "os.system", "lightning.pytorch.callbacks.LambdaCallback"])
@pytest.mark.parametrize("section", ["model", "data"])
def test_a_checkpoint_names_no_class_that_a_file_may_not(
    section: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = STORED | {section: {"class_path": name, "init_args": {"args": ["true"]}}}
    refused(["test", f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt', config)}"], capsys, f"'{name}'")


def test_a_method_of_another_version_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model": {"class_path": "ivif.lightning_modules.mgfusion.GoneTask"}}
    refused(["test", f"--ckpt_path={_checkpoint(tmp_path / 'a.ckpt', config)}"], capsys, "GoneTask", "this version")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder, "--evaluator.convention=vifb", "--trainer.precision=bf16-mixed")) == 0
    return newest_run(folder)


def _config(folder: Path) -> Any:
    (made,) = folder.glob("2*")
    return yaml.safe_load((made / "config.yaml").read_text(encoding="utf-8"))


@brings("options", "`test --run RUN_FOLDER`, and nothing else", "works", "the method and data of that run")
def test_a_run_is_tested_by_its_folder_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--run", str(run), *QUIET, "--evaluator.test_metrics=[EN]"]) == 0
    assert "Other settings" not in caplog.text
    here, there = _config(tmp_path / "runs" / "mgfusion-synthetic"), _config(run.parent)
    assert (here["model"], here["data"]) == (there["model"], there["data"])
    assert (here["evaluator"]["convention"], here["trainer"]["precision"]) == ("vifb", None)


@brings(
    "options",
    "`test --ckpt_path FILE` with other options of the method than in its training",
    "reported",
    "yours hold, and one line names them with the values of the training",
)
def test_what_differs_from_the_training_is_said_in_one_line(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    typed = ["--model.network.gate=sigmoid", "--convention=standard", "--data.prompts.source=auto"]
    typed += [f"--runs_dir={tmp_path}", "--run_name=own"]
    with caplog.at_level(logging.INFO, logger="lightning.pytorch.utilities.rank_zero"):
        assert main(["test", checkpoint, *QUIET, *typed, "--evaluator.test_metrics=[EN]"]) == 0
    (said,) = [line for line in caplog.messages if line.startswith("Other settings")]
    assert said.endswith(
        'model.network.gate "sigmoid" (there "linear"), data.prompts.source "auto" (there "none"), '
        'evaluator.convention "standard" (there "vifb").'
    )
    assert _config(tmp_path / "own")["model"]["init_args"]["network"]["gate"] == "sigmoid"
