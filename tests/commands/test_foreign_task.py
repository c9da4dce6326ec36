"""A method of somebody else's, which declares nothing, through every command."""

import csv
from pathlib import Path

import pytest
import torch

from ivif.commands.cli import main
from tests.commands.runs import QUIET, SCENES, newest_run
from tests.refusals import refused

TASK = "tests.commands.foreign_task.PlainTask"
OPTIONS = (
    *QUIET,
    "--trainer.log_every_n_steps=1",
    "--evaluator.metrics=[EN]",
    "--evaluator.test_metrics=[EN]",
)


def _line(command: str, folder: Path, *options: str) -> list[str]:
    return [command, f"--model={TASK}", *SCENES, *OPTIONS, f"--runs_dir={folder}", "--run_name=tiny", *options]


def test_a_task_that_declares_nothing_is_trained_tested_and_used(tmp_path: Path) -> None:
    assert main(_line("fit", tmp_path, "--trainer.max_epochs=2", "--trainer.accumulate_grad_batches=2")) == 0
    run = newest_run(tmp_path)
    weights = run / "checkpoints" / "last.ckpt"
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        names = set(csv.DictReader(stream).fieldnames or ())
    assert {"train/loss", "train/mean", "train/learning_rate", "val/EN"} <= names
    assert not any("AP50" in name for name in names)
    assert float(torch.load(weights, weights_only=True)["state_dict"]["mixture.weight"][0, 0]) < 0.9
    assert main(_line("test", tmp_path, f"--ckpt_path={weights}")) == 0
    (table,) = {path.resolve() for path in (tmp_path / "tiny").glob("*/tables/test.csv")}  # by its own name and a link
    assert "Plain" in table.read_text(encoding="utf-8")
    output = tmp_path / "fused"
    predict = _line("predict", tmp_path, f"--ckpt_path={weights}", f"--output_dir={output}")
    assert main(predict) == 0
    assert len(list(output.glob("*.png"))) == 2
    assert main([*predict, "--model.init_args.start=0.5"]) == 1  # it declares no option as one of training alone
    assert main(_line("fit", tmp_path, f"--init_from={weights}", "--trainer.max_epochs=1")) == 0


def test_its_weights_and_its_network_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs trained weights" in refused(_line("test", tmp_path), capsys)
    assert "has no fusion network to compile" in refused(_line("fit", tmp_path, "--compilation.enabled=true"), capsys)
