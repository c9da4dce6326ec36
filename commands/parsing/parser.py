"""The argument parser: LightningCLI's, with errors as one readable message instead of usage text."""

import argparse
from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from ivif.callbacks.detection_files import DetectionFiles
from ivif.commands.errors import HINT, UsageError
from ivif.commands.parsing.messages import with_nearest
from ivif.commands.parsing.yaml_values import denied_class, guard_parser, without_denied_files

_FILES: Final = (
    "Files are read in their order, later ones over earlier ones; options win over files wherever they stand. A bare "
    "name such as mgfusion.yaml is looked up in configs/."
)
DESCRIPTIONS: Final = {
    "fit": "Trains a method: --config METHOD [--config PRESET ...] [--data DATA] [OPTIONS]. With --resume RUN_FOLDER a "
    "run that was stopped goes on in its folder, with its configuration and last checkpoint; options change what is to "
    f"change, such as --trainer.max_epochs. {_FILES}",
    "validate": f"Scores a checkpoint (--ckpt_path) on the validation pairs. {_FILES}",
    "test": f"Scores a checkpoint (--ckpt_path) on the test pairs, with rows of the classic rules. {_FILES}",
    "predict": f"Writes fused pictures, and what was detected, with a checkpoint (--ckpt_path). {_FILES}",
}
"""What `COMMAND --help` says before the options."""


class SuiteParser(LightningArgumentParser):
    """Raises `UsageError` where argparse would print its usage and exit, and imports what files may name alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        guard_parser()
        kwargs.setdefault("allow_abbrev", False)  # else `--trainer.max_epoch 3` would quietly mean max_epochs
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Every mistake on a command line or in a YAML file ends here.

        Raises:
            UsageError: With the part of the message that names the key, the value and what was expected.
        """
        denied = denied_class(message)
        if denied is not None:
            raise UsageError(denied) from ex
        raise UsageError(f"{with_nearest(without_denied_files(message), self.option_names())}\n{HINT}") from ex

    def add_described(self, commands: Mapping[str, "SuiteParser"]) -> None:
        """Adds commands below this one, each with the first sentence of its description in the list of `--help`."""
        subcommands = self.add_subcommands()
        for name, parser in commands.items():
            subcommands.add_subcommand(name, parser, help=str(parser.description).partition(". ")[0].rstrip(".") + ".")

    def option_names(self) -> list[str]:
        """Names of its options and of its commands' options, without dashes.

        argparse keeps both under names of its own, and has no public ones.
        """
        names = [option.lstrip("-") for option in self._option_string_actions]
        commands = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return names + [name for choices in commands for parser in choices.values() for name in parser.option_names()]


def add_suite_arguments(parser: Any) -> None:
    """Arguments of ours beside trainer, model and data, for every subcommand."""
    parser.add_argument(
        "--run_name", type=str | None, default=None, help="Folder under runs/; default: method-dataset."
    )
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
        type=str,
        default="stop",
        choices=["stop", "skip"],
        help="fit: what to do about a batch whose loss or gradient is NaN or infinite.",
    )
    parser.add_argument(
        "--matmul_precision",
        type=str,
        default="highest",
        choices=["highest", "high"],
        help="Of float32 matrix products on a GPU; high: in TensorFloat-32, several times faster (docs/cluster.md).",
    )
    _add_predict_arguments(parser)


def _add_predict_arguments(parser: Any) -> None:
    parser.add_argument("--output_dir", type=str | None, default=None, help="predict: where the fused PNGs go.")
    parser.add_argument("--grey", action="store_true", help="predict: save luma instead of colour.")
    parser.add_argument(
        "--boxes", type=DetectionFiles, default=DetectionFiles(), help="predict: files of what was detected."
    )
