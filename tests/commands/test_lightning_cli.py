"""What the command line adds to Lightning's own, apart from whole runs."""

from pathlib import Path

import pytest

from ivif.callbacks.compilation import Compilation
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.memory_guard import MemoryGuard
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.config_files import GROUPS
from ivif.commands.train.lightning_cli import SuiteCLI
from tests.commands.runs import tiny_run


def test_every_section_of_a_callback_is_known_to_be_a_mapping(tmp_path: Path) -> None:
    cli = SuiteCLI.from_arguments(rewrite(tiny_run("fit", tmp_path)))
    assert set(cli._parser("fit").callback_keys) - set(GROUPS) == set()
    assert cli._parser("fit").callback_keys


def test_a_section_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cached.yaml").write_text("cache: ram\nseed: 3\n", encoding="utf-8")
    (tmp_path / "overlay.yaml").write_text(f"loading: {tmp_path / 'cached.yaml'}\n", encoding="utf-8")
    cli = SuiteCLI.from_arguments(rewrite(tiny_run("fit", tmp_path, f"--config={tmp_path / 'overlay.yaml'}")))
    assert (cli.datamodule.loading.cache, cli.datamodule.loading.seed) == ("ram", 3)


@pytest.mark.parametrize("asked", [False, True])
def test_a_callback_that_is_switched_off_is_not_called(asked: bool, tmp_path: Path) -> None:
    switches = [f"--{name}.enabled={str(asked).lower()}" for name in ("gradient_norms", "compilation", "memory_guard")]
    trainer = SuiteCLI.from_arguments(rewrite(tiny_run("fit", tmp_path, *switches))).trainer
    found = {type(callback) for callback in trainer.callbacks}  # type: ignore[attr-defined]
    switched = {GradientNorms, Compilation, MemoryGuard}
    assert found & switched == (switched if asked else set())
    assert {Evaluator, ImageLogger, RunCheckpoint} <= found
