"""`ivif --print_completion SHELL`: a script by which a shell completes commands and options of `ivif`."""

import argparse
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from ivif.commands import export, fuse
from ivif.commands.data import command as data
from ivif.commands.demo import command as demo
from ivif.commands.errors import UsageError
from ivif.commands.models import command as models
from ivif.commands.parsing.command_line import CommandLine
from ivif.commands.parsing.config_files import CLASS_OPTIONS
from ivif.commands.parsing.option_names import options_inside
from ivif.commands.report import command as report
from ivif.commands.study import command as study
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.contracts.class_paths import SHORT_NAMES, known_names

OPTION: Final = "--print_completion"
_FILES: Final = ("--config", "--data", "--model", "--ckpt_path", "--init_from")


class _CompletingCLI(SuiteCLI):
    """Prints the script where it would parse, and ends; jsonargparse's own, with all classes, has 100 MB."""

    shell: str

    def parse_arguments(self, parser: Any, args: Any) -> None:  # noqa: ARG002 - Lightning's hook
        shtab = import_module("shtab")
        (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for command in commands.choices.values():
            _add_options_inside(command)
            for option in _FILES:
                command._option_string_actions[option].complete = shtab.FILE
        plain_commands = {
            "fuse": fuse, "demo": demo, "export": export, "data": data, "models": models, "report": report,
            "study": study,
        }  # fmt: skip
        for name, plain in plain_commands.items():
            # jsonargparse takes no parser that has commands of its own already
            commands._name_parser_map[name] = plain._parser(reads=True)
            commands._choices_actions.append(commands._ChoicesPseudoAction(name, (), None))
        parser.prog = "ivif"
        print(shtab.complete(parser, self.shell))
        raise SystemExit(0)


def _add_options_inside(parser: Any) -> None:
    """Adds the options of our methods and datasets, which the parser knows when one is chosen."""
    names = {
        f"--{name}": None
        for option, group in CLASS_OPTIONS.items()
        for short, path in known_names(group).items()
        if short in SHORT_NAMES
        for name in options_inside(option.removeprefix("--"), path)
    }
    for name in names:
        argparse.ArgumentParser.add_argument(parser, name, default=argparse.SUPPRESS)


def print_completion(shell: str) -> None:
    """Prints the script for a shell and ends.

    Raises:
        UsageError: If shtab, which writes it, is not installed, or does not know the shell.
    """
    if find_spec("shtab") is None:
        raise UsageError(f"{OPTION}: shtab, which writes such scripts, is not installed: pip install shtab")
    shells = import_module("shtab").SUPPORTED_SHELLS
    if shell not in shells:
        raise UsageError(f"{OPTION} {shell}: there is no script for this shell, but for {', '.join(shells)}.")
    _CompletingCLI.shell = shell
    _CompletingCLI.from_arguments(CommandLine([]))
