"""PromptFusion through `main.py`: phases one run at a time, exported prompts, testing without an encoder."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from ivif.commands.cli import main

COMMON = (
    "--config=promptfusion.yaml",
    "--config=promptfusion_cpu.yaml",
    "--data=synthetic.yaml",
    "--data.init_args.train_length=2",
    "--data.init_args.evaluation_length=1",
    "--data.init_args.size=[64,64]",
    "--model.init_args.network={channels: 4, blocks: 1, heads: 2, detail_channels: [4, 4, 4, 4]}",
    "--model.init_args.crops.size=32",
    "--loading.batch_size=2",
    "--transforms.resize=[64,64]",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
    "--trainer.limit_val_batches=0",
    "--trainer.val_check_interval=null",
)
ENCODER = ("--model.init_args.prompts.clip=random-tiny", "--model.init_args.prompts.length=4")


def _fit(runs: Path, *extra: str) -> Path:
    assert main(["fit", *COMMON, f"--runs_dir={runs}", *extra]) == 0
    return (runs / "promptfusion-synthetic" / "latest").resolve()


def test_phases_run_one_after_the_other_from_each_other_s_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only = "--model.init_args.phases.only"
    first = _fit(
        tmp_path / "1", *ENCODER, f"{only}=autoencoder", "--trainer.max_steps=1", "--model.init_args.detector=null"
    )
    start = f"--init_from={first / 'checkpoints' / 'last.ckpt'}"
    second = _fit(tmp_path / "2", *ENCODER, f"{only}=prompts", "--trainer.max_steps=2", start)
    assert "Weights of network, learner from" in caplog.text
    assert "Not there, or for other classes, so they start anew: part." in caplog.text
    assert "Phase 1 of 1: prompts (steps 0 to 2 of 2)." in caplog.text
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (first, second)]
    assert torch.equal(states[0]["network.encoder.entry.weight"], states[1]["network.encoder.entry.weight"])
    assert not torch.equal(states[0]["learner.prompts.positive"], states[1]["learner.prompts.positive"])
    log = pd.read_csv(second / "metrics.csv")
    assert set(log["train/phase"].dropna()) == {1.0}
    assert log["train/prompts/classification"].notna().sum() == 2

    exported = second / "prompts.safetensors"
    assert (second / "prompts.md").read_text(encoding="utf-8").startswith("# Words nearest")
    third = _fit(
        tmp_path / "3",
        *ENCODER,
        f"{only}=fusion",
        "--trainer.max_steps=1",
        f"--model.init_args.prompts.file={exported}",
    )
    state = torch.load(third / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(state["learner.prompts.positive"], states[1]["learner.prompts.positive"])


def test_a_checkpoint_is_tested_without_its_encoder(tmp_path: Path) -> None:
    run = _fit(tmp_path, *ENCODER, "--trainer.max_steps=1")
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main(["test", *COMMON, f"--runs_dir={tmp_path}", checkpoint, "--model.init_args.prompts=null"]) == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--init_from=nowhere.ckpt", "--init_from nowhere.ckpt: there is no such file"),
        ("--model.init_args.prompts.file=nowhere.safetensors", "nowhere.safetensors"),
        ("--model.init_args.phases.only=sleep", "phases.only"),
        ("--model.init_args.prompts.kinds=[ugly]", "ugly"),
    ],
)
def test_mistakes_are_one_message(option: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *COMMON, *ENCODER, f"--runs_dir={tmp_path}", "--trainer.max_steps=2", option]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
