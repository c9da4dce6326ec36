"""`main.py data ...`: look at a dataset before training on it, and write its prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.arguments import rewrite
from commands.parser import SuiteParser
from datamodules.base import FusionDataModule

STAGES = ("train", "val", "test")
"""Stages in the order of reports."""


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `data` commands; returns the exit code.

    Raises:
        UsageError: If the command line is wrong.
        DatasetError: If the data are not there.
    """
    parser = _parser()
    config = parser.parse_args(rewrite(arguments).arguments)
    options = config[config.subcommand]
    if config.subcommand == "manifests":
        from commands.manifests import run as write_manifests

        return write_manifests(write=options.write)
    datamodule: FusionDataModule = parser.instantiate_classes(config)[config.subcommand].data
    return _check(datamodule, options) if config.subcommand == "check" else _prompts(datamodule, options)


def _parser() -> SuiteParser:
    parser = SuiteParser(prog="main.py data")
    subcommands = parser.add_subcommands()
    check = SuiteParser(description="Opens every file; reports counts, sizes, labels, leakage; draws a contact sheet.")
    check.add_argument("--out", type=str, default="runs/data-check", help="Folder of the report and the contact sheet.")
    prompts = SuiteParser(description="Writes one prompt per pair as JSONL; continues a file that is already there.")
    prompts.add_argument("--out", type=str, required=True, help="The JSONL file.")
    prompts.add_argument(
        "--by", type=str, default="template", choices=["template", "dataset"], help="How to make them."
    )
    prompts.add_argument("--stage", type=str, default="all", choices=["all", *STAGES], help="Which pairs.")
    for subcommand in (check, prompts):
        subcommand.add_argument("--config", action="config")
        subcommand.add_subclass_arguments(FusionDataModule, "data", required=True, fail_untyped=False)
    manifests = SuiteParser(description="Compares the committed name lists with their rules.")
    manifests.add_argument("--write", action="store_true", help="Write the lists anew.")
    subcommands.add_subcommand("check", check)
    subcommands.add_subcommand("prompts", prompts)
    subcommands.add_subcommand("manifests", manifests)
    return parser


def _check(datamodule: FusionDataModule, options: Any) -> int:
    from commands.data_check import check

    stages = {stage: readers for stage in STAGES if (readers := datamodule.stage_readers(stage))}
    return check(stages, Path(options.out))


def _prompts(datamodule: FusionDataModule, options: Any) -> int:
    from commands.prompts import write_prompts

    return write_prompts(datamodule.stage_readers(options.stage), Path(options.out), by=options.by)
