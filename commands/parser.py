"""The argument parser: LightningCLI's, with errors as one readable message instead of usage text."""

import argparse
from typing import Any, Literal, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from callbacks.detection_files import DetectionFiles
from commands.errors import HINT, UsageError
from commands.parser_messages import with_nearest


class SuiteParser(LightningArgumentParser):
    """Raises `UsageError` where argparse would print its usage and exit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)  # else `--trainer.max_epoch 3` would quietly mean max_epochs
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Every mistake on a command line or in a YAML file ends here.

        Raises:
            UsageError: With the part of the message that names the key, the value and what was expected.
        """
        raise UsageError(f"{with_nearest(message, self.option_names())}\n{HINT}") from ex

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
    parser.add_argument("--output_dir", type=str | None, default=None, help="predict: where the fused PNGs go.")
    parser.add_argument("--grey", action="store_true", help="predict: save luma instead of colour.")
    parser.add_argument(
        "--boxes", type=DetectionFiles, default=DetectionFiles(), help="predict: files of what was detected."
    )
