"""`--compilation.enabled` through the command line: a run that trains, validates and resumes as the plain one does."""

from pathlib import Path

import pytest

from ivif.callbacks.run_log import read_rows
from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run


def _losses(run: Path) -> list[float]:
    return [float(row["train/loss"]) for row in read_rows(run / "metrics.csv") if row["train/loss"]]


@pytest.mark.slow  # the compiler takes two minutes
def test_a_compiled_run_is_the_plain_one_and_goes_on_without(tmp_path: Path) -> None:
    runs = {}
    for name, compiled in (("plain", "false"), ("compiled", "true")):
        line = tiny_run("fit", tmp_path / name, f"--compilation.enabled={compiled}", "--checkpoint.save_top_k=0")
        assert main(line) == 0
        runs[name] = newest_run(tmp_path / name)
    plain, compiled_losses = _losses(runs["plain"]), _losses(runs["compiled"])
    assert len(plain) == 2
    assert compiled_losses == pytest.approx(plain, rel=2e-3)
    assert compiled_losses != plain  # the sums of a compiler differ in their last digits
    more = ("--compilation.enabled=false", "--trainer.max_epochs=2")
    checkpoint = runs["compiled"] / "checkpoints" / "last.ckpt"
    assert main(tiny_run("fit", tmp_path / "more", *more, f"--ckpt_path={checkpoint}")) == 0
    assert len(_losses(newest_run(tmp_path / "more"))) == 2
