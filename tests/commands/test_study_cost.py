"""`study run --dry_run`: what the runs would take, without running them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ivif.commands.errors import UsageError
from ivif.commands.study import cost
from ivif.commands.study.command import main
from ivif.commands.study.cost import Cost, _Clock, costs
from ivif.commands.study.planned import PlannedRun
from ivif.commands.study.run import study_run
from tests.commands.runs import TINY_STUDY

STUDY = {
    "options": TINY_STUDY | {"data.train_length": 40},
    "methods": {"one": {"config": "mgfusion.yaml"}},
    "data": {"scenes": {"file": "synthetic.yaml"}},
    "seeds": [0, 1],
}


def _clocked(seconds: list[float], steps: list[int], **limits: int) -> tuple[float, int]:
    """The estimate of a clock that sees batches end at these times and steps, and how many it saw."""
    clock = _Clock()
    trainer: Any = SimpleNamespace(num_training_batches=10, should_stop=False, **limits)
    for index, (now, step) in enumerate(zip(seconds, steps, strict=True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ivif.commands.study.cost.time.perf_counter", lambda now=now: now)
            trainer.global_step = step
            clock.on_train_batch_end(trainer)
        if trainer.should_stop:
            return clock.seconds, index + 1
    return clock.seconds, len(steps)


def test_all_steps_take_as_long_as_the_first_but_the_very_first() -> None:
    seconds, steps = [9.0, 10.0, 11.0, 12.0, 13.0, 14.0], [1, 2, 3, 4, 5, 6]
    assert _clocked([0.0, *seconds], [0, *steps], max_steps=100, max_epochs=-1) == (100, 6)
    assert _clocked(seconds, steps, max_steps=-1, max_epochs=3) == (30, 5)
    assert _clocked(seconds, steps, max_steps=20, max_epochs=3) == (20, 5)
    accumulated = [1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert _clocked([float(second) for second in range(9)], accumulated, max_steps=100, max_epochs=-1) == (200, 9)
    assert _clocked(seconds[:3], steps[:3], max_steps=3, max_epochs=-1) == (3, 3)  # it ended before


def test_costs_are_said_in_units_that_fit() -> None:
    assert str(Cost(3 * 2**29)) == "1.5 GiB a step"
    assert str(Cost(2**30, 90)) == "1.0 GiB a step, 1.5 min of steps"
    assert str(Cost(None, 7200)) == "memory not known, 2.0 h of steps"
    assert str(Cost(problem="no such file")) == "cannot be built here: no such file"


def test_runs_that_differ_in_seed_and_fold_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(words: tuple[str, ...], measures: bool) -> Cost:
        assert not measures
        seen.append(words)
        return Cost(len(seen))

    monkeypatch.setattr(cost, "_cost", look)
    first = ("--a=1", "--data.manifest={folds}/x/fold0.yaml", "--seed_everything=0")
    again = ("--a=1", "--data.manifest={folds}/x/fold1.yaml", "--seed_everything=1")
    other = ("--a=2", "--init_from={after}", "--seed_everything=0")
    runs = [PlannedRun(f"run{index}", "run", 0, (), "", words, ()) for index, words in enumerate((first, again, other))]
    folder = PlannedRun("sea", "sea", 0, (), "", ("sea",), (), "folder")
    assert costs([*runs, folder], measures=False) == {"run0": Cost(1), "run1": Cost(1), "run2": Cost(2)}
    assert seen == [("--a=1",), ("--a=2",)]


def test_a_dry_run_lists_memory_and_time_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    line = ["run", str(path), f"--studies_dir={tmp_path / 'studies'}", "--dry_run", "--measure"]
    assert main([*line, "--options", "trainer.max_steps=6"]) == 0
    listed = [text for text in capsys.readouterr().out.splitlines() if text.startswith("one-seed")]
    assert len(listed) == 2
    assert all(" GiB a step, " in text and " s of steps): --config=mgfusion.yaml" in text for text in listed)
    assert all(text.endswith(f"--trainer.max_steps=6 --seed_everything={seed}") for seed, text in enumerate(listed))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("option", "said"),
    [("model.colour=red", "colour"), ("model.clip=openai/ViT-B-32", "The weights 'openai' of ViT-B-32")],
)
def test_what_cannot_be_built_is_said_beside_the_run(
    option: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"seeds": [0]}))
    assert study_run(str(path), tmp_path / "studies", tmp_path, 1, dry_run=True, options=[option]) == 0
    (listed,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("one-seed0")]
    assert listed.startswith("one-seed0 (cannot be built here: ")
    assert said in listed.partition(")")[0]


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    with pytest.raises(UsageError, match=r"--options trainer\.max_steps: write KEY=VALUE"):
        study_run(str(path), tmp_path, tmp_path, 1, dry_run=True, options=["trainer.max_steps"])
    with pytest.raises(UsageError, match="--measure belongs to --dry_run"):
        study_run(str(path), tmp_path, tmp_path, 1, dry_run=False, measure=True)
