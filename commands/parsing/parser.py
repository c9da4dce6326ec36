"""The argument parser: jsonargparse's, with errors as one readable message instead of usage text."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from ivif.commands.parsing.help_texts import completed
from ivif.commands.parsing.messages import explain
from ivif.commands.parsing.option_names import options_inside
from ivif.commands.parsing.order import named_class
from ivif.commands.parsing.yaml_values import guard_parser
from ivif.commands.program import program


class SuiteParser(ArgumentParser):
    """Raises `UsageError` where argparse would print its usage and exit, and imports what files may name alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        guard_parser()
        kwargs.setdefault("prog", program())
        kwargs.setdefault("allow_abbrev", False)  # else `--trainer.max_epoch 3` would quietly mean max_epochs
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Every mistake on a command line or in a YAML file ends here.

        Raises:
            UsageError: With the part of the message that names the key, the value and what was expected.
        """
        raise explain(message, self.option_types() | self._options_inside()) from ex

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """As jsonargparse's; remembers the words, of which messages tell what they mean."""
        self._words = list(args or ())
        return super().parse_args(args, *others, **kwargs)

    def format_help(self, *formatter: Any) -> str:
        """As jsonargparse's, for users: with the methods and data that can be named."""
        return completed(super().format_help(*formatter), self._option_string_actions)

    def _options_inside(self) -> dict[str, Any]:
        """Options of the method and data that the command line names."""
        outer: Any = self
        while hasattr(outer, "parent_parser"):  # of a command: the words came to the parser of all
            outer = outer.parent_parser
        words = getattr(outer, "_words", [])
        named = {section: named_class(words, section) for section in ("model", "data")}
        return {name: kind for key, path in named.items() if path for name, kind in options_inside(key, path).items()}

    def add_described(self, commands: Mapping[str, "SuiteParser"]) -> None:
        """Adds commands below this one, each with the first sentence of its description in the list of `--help`."""
        subcommands = self.add_subcommands()
        for name, parser in commands.items():
            subcommands.add_subcommand(name, parser, help=str(parser.description).partition(". ")[0].rstrip(".") + ".")

    def option_types(self) -> dict[str, Any]:
        """Its options and those of its commands by their names without dashes, with their types; None where none is.

        argparse and jsonargparse keep them under names of their own, and have no public ones.
        """
        found = {
            name.lstrip("-"): getattr(action, "_typehint", None) for name, action in self._option_string_actions.items()
        }
        commands = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        for parser in (parser for choices in commands for parser in choices.values()):
            found |= parser.option_types()
        return found
