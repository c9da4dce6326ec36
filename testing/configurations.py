"""A method's configuration files, and its run through the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from ivif.commands.cli import main
from ivif.commands.parsing.named_files import find_config
from ivif.testing.parameters import ParametrizedTests

SHORT: Final = (
    "--data=data/synthetic.yaml",
    "--data.train_length=2",
    "--data.evaluation_length=1",
    "--loading.batch_size=2",
    "--loading.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    "--trainer.fast_dev_run=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
"""Options that make a run one batch of generated scenes."""


class ConfigurationTests(ParametrizedTests):
    """Every file of a method parses, builds and trains; its first one also validates, tests and predicts."""

    config: ClassVar[str]
    """The method's file, by the name that `--config` takes; `NAME_*.yaml`, there and in `ablations/`, go after it."""

    options: ClassVar[Sequence[str]] = ()
    """Options that make the network small."""

    def options_for(self, files: Sequence[str]) -> Sequence[str]:
        """The options for some of the files."""
        return self.options

    @classmethod
    def combinations(cls) -> list[tuple[str, ...]]:
        """The method's file alone, and with each of the others after it."""
        file = Path(find_config("--config", cls.config))
        beside = sorted([*file.parent.glob(f"{file.stem}_*.yaml"), *file.parent.glob(f"ablations/{file.stem}_*.yaml")])
        return [(cls.config,), *((cls.config, str(path.relative_to(file.parent))) for path in beside)]

    def line(self, files: Sequence[str]) -> list[str]:
        """A command line without its command."""
        return [*(f"--config={file}" for file in files), *SHORT, *self.options_for(files)]

    def parameters(self) -> dict[str, Sequence[Any]]:
        """All combinations of files."""
        return super().parameters() | {"files": self.combinations()}

    def test_every_configuration_runs(self, files: tuple[str, ...], tmp_path: Path) -> None:
        line = [*self.line(files), f"--runs_dir={tmp_path}"]
        assert main(["fit", *line]) == 0
        for command in ("validate", "test", "predict") if len(files) == 1 else ():
            assert main([command, *line, "--allow_random_weights"]) == 0
