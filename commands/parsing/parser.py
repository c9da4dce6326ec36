"""The argument parser: jsonargparse's, with errors as one readable message instead of usage text."""

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from ivif.commands.errors import HINT, UsageError
from ivif.commands.parsing.messages import with_nearest
from ivif.commands.parsing.yaml_values import denied_class, guard_parser, without_denied_files


class SuiteParser(ArgumentParser):
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
