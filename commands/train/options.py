"""The parser of `fit`, `validate`, `test` and `predict`, and what they take beside trainer, model and data."""

from typing import Any, Final, Literal

from lightning.pytorch.cli import LightningArgumentParser

from ivif.callbacks.detection_files import DetectionFiles
from ivif.commands.parsing.parser import SuiteParser

_FILES: Final = (
    "Files are read in their order, later ones over earlier ones; options win over files wherever they stand. A bare "
    "name such as mgfusion.yaml is looked up in configs/."
)
_WEIGHTS: Final = (
    "--ckpt_path CKPT, or --run RUN_FOLDER for its last one, [--data DATA] [OPTIONS]. The method and its settings are "
    "those of the checkpoint's training, unless --config or --model names one; so are the data, unless --data does."
)
_RUN_NAME: Final = "Folder under runs/; default: method-dataset. In a file it is that of fit alone."
TILE_HELP: Final = (
    "Fuse squares of so many pixels one after the other: less memory, more time, the same result; auto: where memory "
    "is short."
)
DESCRIPTIONS: Final = {
    "fit": "Trains a method: --config METHOD [--config PRESET ...] [--data DATA] [OPTIONS]. With --resume RUN_FOLDER a "
    "run that was stopped goes on in its folder, with its configuration and last checkpoint; options change what is to "
    f"change, such as --trainer.max_epochs. {_FILES}",
    "validate": f"Scores a checkpoint on the validation pairs: {_WEIGHTS} {_FILES}",
    "test": f"Scores a checkpoint on the test pairs, with rows of the classic rules: {_WEIGHTS} {_FILES}",
    "predict": f"Writes fused pictures, and what was detected, with a checkpoint: {_WEIGHTS} {_FILES}",
}
"""What `COMMAND --help` says before the options."""


class TrainingParser(SuiteParser, LightningArgumentParser):
    """LightningCLI's, with our errors."""


def add_suite_arguments(parser: Any) -> None:
    """Arguments of ours beside trainer, model and data, for every subcommand."""
    parser.add_argument("--run_name", type=str | None, default=None, help=_RUN_NAME)
    parser.add_argument("--runs_dir", type=str, default="runs", help="Where run folders go.")
    parser.add_argument(
        "--wandb",
        type=Literal["disabled", "offline", "online"] | None,
        default=None,
        help="W&B beside the CSV log; online: where a key and a network are.",
    )
    parser.add_argument(
        "--convention", type=str | None, default=None, help="Definitions of the metrics (docs/metrics.md)."
    )
    parser.add_argument("--wandb_project", type=str | None, default=None, help="Project of the W&B dashboard.")
    parser.add_argument(
        "--init_from",
        type=str | None,
        default=None,
        help="fit: a checkpoint of the same method whose weights the run starts from, with new counters.",
    )
    parser.add_argument(
        "--allow_random_weights",
        action="store_true",
        help="Let validate, test and predict run an untrained network.",
    )
    parser.add_argument(
        "--on_non_finite",
        type=Literal["stop", "skip"],
        default="stop",
        help="fit: what to do about a batch whose loss or gradient is NaN or infinite.",
    )
    parser.add_argument(
        "--matmul_precision",
        type=Literal["highest", "high"],
        default="highest",
        help="Of float32 matrix products on a GPU; high: in TensorFloat-32, several times faster (docs/cluster.md).",
    )
    parser.add_argument("--tile", type=int | Literal["auto"] | None, default=None, help=f"test, predict: {TILE_HELP}")
    _add_predict_arguments(parser)


def _add_predict_arguments(parser: Any) -> None:
    parser.add_argument("--output_dir", type=str | None, default=None, help="predict: where the fused PNGs go.")
    parser.add_argument(
        "--shard",
        type=str | None,
        default=None,
        help="predict: make one part of the pictures, such as 2/4, beside commands that make the others.",
    )
    parser.add_argument(
        "--submit",
        type=str | None,
        default=None,
        help="predict: a YAML file that says how many shards, and what a job of a cluster needs for one (scale.md).",
    )
    parser.add_argument("--grey", action="store_true", help="predict: save luma instead of colour.")
    parser.add_argument(
        "--boxes", type=DetectionFiles, default=DetectionFiles(), help="predict: files of what was detected."
    )
