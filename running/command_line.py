"""LightningCLI without what it does of its own accord: the second door to names that Lightning does not promise.

Apart from `internals`, because Lightning's command line takes a second to import, which training in Python spares.
"""

from abc import abstractmethod
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningCLI


class PreparedCLI(LightningCLI):
    """Parses and builds in its constructor, as Lightning's does, and runs nothing there."""

    @abstractmethod
    def complete_trainer(
        self, config: dict[str, Any], callbacks: list[Callback]
    ) -> tuple[dict[str, Any], list[Callback]]:
        """The trainer's arguments and callbacks, given those of the configuration, before it is built."""

    def option(self, name: str) -> Any:
        """A setting of the subcommand as it was parsed."""
        return self._get(self.config, name)

    def built(self, name: str) -> Any:
        """A setting of the subcommand with its objects built; for hooks that Lightning calls while it builds."""
        return self._get(self.config_init, name)

    def written_config(self) -> str:
        """The configuration of the subcommand as YAML, complete.

        Without the checkpoint that training began from: another run with these settings begins anew.
        """
        config = self.config[self.subcommand].clone()
        if self.subcommand == "fit":
            config.ckpt_path = None
        return str(self._parser(self.subcommand).dump(config, skip_unset=False))

    def run_arguments(self) -> dict[str, Any]:
        """What the trainer's method for the subcommand is called with: task, data and its options."""
        return self._prepare_subcommand_kwargs(str(self.subcommand))

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        return super()._instantiate_trainer(*self.complete_trainer(config, callbacks))

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning would let the checkpoint replace the configuration silently (Lightning #21455)."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Does nothing: Lightning would run inside the constructor."""
