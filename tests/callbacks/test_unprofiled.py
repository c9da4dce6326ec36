"""A trainer that is not asked to profile spends nothing on it."""

from pathlib import Path

from ivif.callbacks.unprofiled import Unprofiled
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.train.lightning_cli import SuiteCLI
from tests.commands.runs import tiny_run


def test_hooks_enter_one_context_that_does_nothing() -> None:
    profiler = Unprofiled()
    with profiler.profile("[Callback]A.on_train_batch_end") as outer, profiler.profile("again") as inner:
        assert outer is inner is None


def test_it_is_the_default_and_gives_way(tmp_path: Path) -> None:
    plain, asked = (
        SuiteCLI.from_arguments(rewrite(tiny_run("fit", tmp_path, *options))).trainer.profiler  # type: ignore[attr-defined]
        for options in ((), ("--trainer.profiler=simple",))
    )
    assert isinstance(plain, Unprofiled)
    assert type(asked).__name__ == "SimpleProfiler"
