"""W&B beside the CSV log, without an account or a network."""

from pathlib import Path

import pytest

from commands.cli import main


@pytest.mark.slow
def test_offline_runs_write_metrics_and_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "cache"))
    code = main(
        [
            "fit",
            "--config=quickstart.yaml",
            "--wandb=offline",
            f"--runs_dir={tmp_path}",
            "--model.init_args.network={channels: 8, blocks: 1, heads: 2}",
            "--data.init_args={train_length: 4, evaluation_length: 1, size: [48, 56]}",
            "--loading={batch_size: 2, num_workers: 0}",
            "--transforms.crop=32",
            "--trainer.max_steps=2",
            "--trainer.val_check_interval=2",
            "--trainer.log_every_n_steps=1",
            "--trainer.enable_progress_bar=false",
            "--trainer.accelerator=cpu",
        ]
    )
    assert code == 0
    (run,) = (tmp_path / "quickstart" / "latest" / "wandb").glob("offline-run-*")
    assert list(run.glob("*.wandb"))
    assert list((run / "files" / "media" / "images").rglob("*.png"))
