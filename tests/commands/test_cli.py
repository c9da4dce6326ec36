"""The main path through `main.py`, and what a checkpoint may and may not decide."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from ivif.commands.cli import main
from ivif.configs import CONFIGS
from ivif.models.classic import CLASSIC_FUSIONS
from tests.commands.runs import SCENES, newest_run, tiny_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one trained network in it."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder)) == 0
    return folder


@pytest.fixture
def checkpoint(runs: Path) -> str:
    return f"--ckpt_path={newest_run(runs) / 'checkpoints' / 'last.ckpt'}"


def test_a_run_folder_holds_everything(runs: Path) -> None:
    run = newest_run(runs)
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "environment.json", "checkpoints", "metrics.csv", "panels"} <= names
    assert ".lock" not in names
    log = pd.read_csv(run / "metrics.csv")
    assert log["train/loss"].dropna().between(0, 2).all()
    assert {"train/gradient", "train/intensity", "val/EN", "val/synthetic/Qabf", "perf/pairs_per_second"} <= set(log)


def test_testing_writes_the_table_and_predicting_the_pictures(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run("test", tmp_path, checkpoint)) == 0
    (table,) = tmp_path.rglob("tables/test.csv")
    assert set(pd.read_csv(table)["method"]) == {"MGFusion", *CLASSIC_FUSIONS}
    output = f"--output_dir={tmp_path / 'out'}"
    assert main(tiny_run("predict", tmp_path, checkpoint, output)) == 0
    pictures = sorted(tmp_path.glob("out/*.png"))
    assert len(pictures) == 2
    pictures[0].unlink()
    kept = pictures[1].stat().st_mtime_ns
    capsys.readouterr()
    assert main(tiny_run("predict", tmp_path, checkpoint, output)) == 0
    assert "1 fused images are already" in capsys.readouterr().out
    assert pictures[0].is_file()
    assert pictures[1].stat().st_mtime_ns == kept


def test_validate_prints_a_table_of_its_own(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(tiny_run("validate", tmp_path, checkpoint)) == 0
    printed = capsys.readouterr().out
    assert "convention 'standard'" in printed
    assert "DataLoader 0" not in printed
    assert "MGFusion" in printed
    assert not list(tmp_path.iterdir())


def test_pictures_of_other_weights_are_not_mixed(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"--output_dir={tmp_path / 'out'}"
    assert main(tiny_run("predict", tmp_path, checkpoint, output)) == 0
    assert main(tiny_run("predict", tmp_path, "--allow_random_weights", output)) == 1
    assert "pictures made otherwise" in capsys.readouterr().err


def test_a_convention_switches_a_test(runs: Path, checkpoint: str, tmp_path: Path) -> None:
    assert main(tiny_run("test", tmp_path, checkpoint, "--convention=cddfuse", "--evaluator.test_metrics=[MI]")) == 0
    (table,) = tmp_path.rglob("tables/test.csv")
    assert set(pd.read_csv(table)["convention"]) == {"cddfuse"}


def test_resuming_continues_in_place(runs: Path, tmp_path: Path) -> None:
    assert main(tiny_run("fit", tmp_path)) == 0
    run = newest_run(tmp_path)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=2"]) == 0
    assert newest_run(tmp_path) == run
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    log = pd.read_csv(run / "metrics.csv")
    assert log["train/loss"].count() == 4
    assert log["step"].is_monotonic_increasing
    assert len(list(run.parent.iterdir())) == 2


def test_resuming_the_latest_run_leaves_the_link_to_it(tmp_path: Path) -> None:
    assert main(tiny_run("fit", tmp_path, "--trainer.limit_val_batches=0")) == 0
    run = newest_run(tmp_path)
    assert main(["fit", "--resume", str(tmp_path / "tiny" / "latest"), "--trainer.max_epochs=2"]) == 0
    assert newest_run(tmp_path) == run
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_saved_configuration_runs_again(runs: Path, tmp_path: Path) -> None:
    config = newest_run(runs) / "config.yaml"
    assert main(["fit", "--config", str(config), f"--runs_dir={tmp_path}"]) == 0
    again = yaml.safe_load((newest_run(tmp_path) / "config.yaml").read_text(encoding="utf-8"))
    first = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert again | {"runs_dir": ""} == first | {"runs_dir": ""}


def test_a_checkpoint_does_not_override_the_configuration(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run("test", tmp_path, checkpoint, "--model.init_args.network.channels=16")) == 1
    assert "network." in capsys.readouterr().err


def test_a_checkpoint_of_another_encoder_is_refused(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(checkpoint.partition("=")[2], weights_only=True)
    text = {key: str(value).replace("random-tiny", "random-other") for key, value in state.items() if "frozen" in key}
    assert text
    for key in text:
        state[key] = {name: value.replace("random-tiny", "random-other") for name, value in state[key].items()}
    torch.save(state, tmp_path / "other.ckpt")
    assert main(tiny_run("test", tmp_path, f"--ckpt_path={tmp_path / 'other.ckpt'}")) == 1
    message = capsys.readouterr().err
    assert "random-other" in message
    assert "random-tiny" in message


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_untrained_networks_are_not_scored_unasked(
    subcommand: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run(subcommand, tmp_path)) == 1
    assert "--allow_random_weights" in capsys.readouterr().err
    assert main(tiny_run(subcommand, tmp_path, "--allow_random_weights")) == 0


@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_a_classic_rule_needs_no_weights(subcommand: str, tmp_path: Path) -> None:
    task = "ivif.lightning_modules.classic.ClassicFusionTask"
    arguments = [subcommand, f"--model={task}", *SCENES, f"--runs_dir={tmp_path}"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--evaluator.test_metrics=[EN]"]
    quiet.append("--evaluator.metrics=[EN]")
    assert main([*arguments, *quiet, "--loading.num_workers=0"]) == 0


def test_whole_frames_through_clip_are_cached(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("--model.init_args.clip_view=full", f"--model.init_args.feature_cache={cache}")
    assert main(tiny_run("fit", tmp_path, *options)) == 0
    entries = sorted(cache.rglob("*.safetensors"))
    assert len(entries) == 6
    times = [entry.stat().st_mtime_ns for entry in entries]
    assert main(tiny_run("fit", tmp_path, *options)) == 0
    assert [entry.stat().st_mtime_ns for entry in entries] == times


@pytest.mark.parametrize("name", ["mgfusion.yaml", "quickstart.yaml"])
def test_print_config_shows_every_setting(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", name, "--print_config"])
    assert stopped.value.code == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["model"]["init_args"]["schedule"]["peak"] == 1e-3
    assert shown["trainer"]["inference_mode"] is False


def test_alone_it_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("fit", "validate", "test", "predict", "data", "report"))


@pytest.mark.slow
def test_main_runs_from_another_folder(tmp_path: Path) -> None:
    script = CONFIGS.parent / "main.py"
    arguments = tiny_run("fit", tmp_path / "runs", "--trainer.fast_dev_run=1")
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_pictures_of_other_data_are_not_taken_for_these(
    runs: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"--output_dir={tmp_path / 'out'}"
    assert main(tiny_run("predict", tmp_path, checkpoint, output)) == 0
    assert main(tiny_run("predict", tmp_path, checkpoint, output, "--data.init_args.scene_seed=1")) == 1
    assert "scene_seed" in capsys.readouterr().err


def test_the_last_checkpoint_is_the_last_step(tmp_path: Path) -> None:
    steps = ("--trainer.max_epochs=-1", "--trainer.max_steps=5", "--trainer.val_check_interval=3")
    assert main(tiny_run("fit", tmp_path, *steps, "--trainer.check_val_every_n_epoch=null")) == 0
    assert torch.load(newest_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 5


def test_two_runs_of_one_process_have_two_folders(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert main(tiny_run("fit", tmp_path, f"--run_name={name}", "--trainer.limit_val_batches=0")) == 0
        assert (tmp_path / name / "latest" / "config.yaml").is_file()


def test_a_refused_resume_leaves_the_log_of_the_living_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_run("fit", tmp_path, "--trainer.limit_val_batches=0")) == 0
    run = newest_run(tmp_path)
    (run / ".lock").write_text('{"host": "elsewhere", "pid": 1}')
    log = (run / "metrics.csv").read_text()
    assert main(["fit", "--resume", str(run)]) == 1
    assert "in use by process 1 on elsewhere" in capsys.readouterr().err
    assert (run / "metrics.csv").read_text() == log


def test_without_any_dataset_the_root_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data=unified.yaml", f"--data.init_args.root={tmp_path / 'nothing'}")
    assert main(tiny_run("fit", tmp_path, data=data)) == 1
    message = capsys.readouterr().err
    assert "nothing" in message
    assert "--data.root" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fitt", "--config", "mgfusion.yaml"], "fitt: there is no such command. Did you mean fit?"),
        (["dat", "check"], "Did you mean data?"),
        (["qqqq"], "Commands are fit, validate, test, predict, fuse, demo, export, data, models, report, study."),
        (["--config", "mgfusion.yaml", "fit"], "ivif fit --config mgfusion.yaml"),
        (["--trainer.devices=1"], "ivif COMMAND --trainer.devices=1"),
    ],
)
def test_a_line_that_begins_with_no_command_is_corrected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
@pytest.mark.parametrize("word", ["last", "best"])
def test_words_for_a_runs_own_checkpoints_are_for_fit(
    subcommand: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run(subcommand, tmp_path, f"--ckpt_path={word}")) == 1
    message = capsys.readouterr().err
    assert f"--ckpt_path {word}: {subcommand} is a run of its own" in message
    assert "RUN_FOLDER/checkpoints/last.ckpt" in message


def test_a_start_that_fails_leaves_the_latest_run_as_it_was(tmp_path: Path) -> None:
    assert main(tiny_run("fit", tmp_path, "--trainer.limit_val_batches=0")) == 0
    run = newest_run(tmp_path)
    data = ("--data=msrs.yaml", f"--data.init_args.root={tmp_path / 'nowhere'}")
    for subcommand in ("fit", "test"):
        assert main(tiny_run(subcommand, tmp_path, "--allow_random_weights", data=data)) == 1
    assert newest_run(tmp_path) == run
    assert sorted(path.name for path in run.parent.iterdir()) == sorted([run.name, "latest"])
    assert main(["fit", "--resume", str(tmp_path / "tiny" / "latest"), "--trainer.max_epochs=2"]) == 0


def test_a_first_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    data = ("--data=msrs.yaml", f"--data.init_args.root={tmp_path / 'nowhere'}")
    assert main(tiny_run("fit", tmp_path, data=data)) == 1
    assert not list(tmp_path.iterdir())


def test_a_detector_without_classes_says_what_these_data_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data=folder.yaml", f"--data.init_args.root={tmp_path}"]
    assert main(["fit", "--config=detection.yaml", *data, f"--runs_dir={tmp_path}"]) == 1
    message = capsys.readouterr().err
    assert "--data.layout.labels" in message
    assert "detector null" not in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "--help"], ["--resume RUN_FOLDER", "options win over files"]),
        (["predict", "--help"], ["Writes fused pictures"]),
        (
            ["data", "--help"],
            ["Gets a dataset", "Fetches a dataset from its owners", "Opens every file", "Writes one prompt per pair"],
        ),
        (["report", "--help"], ["Scores fused images", "Writes a run as one HTML page"]),
    ],
)
def test_help_says_what_a_command_does(
    arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(text in shown for text in said)
    assert "Lightning Trainer command line tool" not in shown


def test_where_slurm_is_installed_nothing_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    assert main(tiny_run("test", tmp_path, "--allow_random_weights", "--evaluator.test_metrics=[EN]")) == 0
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]
