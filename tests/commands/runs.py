"""Tiny runs through the command line."""

from pathlib import Path

QUIET = (
    "--loading.batch_size=2",
    "--loading.num_workers=0",
    "--transforms.crop=32",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
"""Two small crops a batch, on the CPU, without bars."""

TINY = (
    "--model.init_args.clip=random-tiny",
    "--model.init_args.network.channels=8",
    "--model.init_args.network.heads=2",
    "--model.init_args.network.blocks=1",
    *QUIET,
    "--trainer.num_sanity_val_steps=0",
    "--trainer.log_every_n_steps=1",
    "--evaluator.metrics=[EN, Qabf]",
    "--evaluator.test_metrics=[EN, Qabf]",
)
"""Settings that make any method's run take a second."""

SCENES = (
    "--data=synthetic.yaml",
    "--data.init_args.train_length=4",
    "--data.init_args.evaluation_length=2",
    "--data.init_args.size=[48,56]",
)
"""Generated scenes, few and small."""

TINY_STUDY: dict[str, object] = {
    "model.clip": "random-tiny", "model.network.channels": 8, "model.network.heads": 2, "model.network.blocks": 1,
    "loading.batch_size": 2, "loading.num_workers": 0, "transforms.crop": 32, "trainer.accelerator": "cpu",
    "trainer.max_epochs": -1, "trainer.num_sanity_val_steps": 0,
    "data.train_length": 4, "data.evaluation_length": 1, "data.size": [48, 56],
}  # fmt: skip
"""The same as options of a study of MGFusion on generated scenes, without a number of steps."""


def tiny_run(subcommand: str, runs: Path, *options: str, data: tuple[str, ...] = SCENES) -> list[str]:
    """A command line for MGFusion; later options win."""
    files = ["--config=mgfusion.yaml", *data]
    length = [] if subcommand != "fit" else ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]
    return [subcommand, *files, *TINY, *length, f"--runs_dir={runs}", "--run_name=tiny", *options]


def newest_run(runs: Path) -> Path:
    """The folder of the newest training run."""
    return (runs / "tiny" / "latest").resolve()
