"""`study search`: trials are drawn, run, pruned and compared; a kill at any moment neither loses nor doubles one."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ivif.callbacks.trial_report import TRIAL_VARIABLE, MissingScoreError, TrialReport, trial_reports
from ivif.callbacks.trials import JOURNAL, PRUNED, Trials
from ivif.commands.errors import UsageError
from ivif.commands.study.execute import Execution, _EndedError
from ivif.commands.study.search import study_search
from ivif.commands.study.search_file import Range, Search, read_search
from ivif.configs import CONFIGS
from ivif.files.errors import NotFiniteError
from tests.commands.runs import TINY_STUDY, newest_run
from tests.inputs import brings
from tests.refusals import refusal, refused

optuna = pytest.importorskip("optuna")

SEARCH: dict[str, Any] = {
    "config": "mgfusion.yaml",
    "data": {"file": "synthetic.yaml"},
    "trials": 6,
    "score": "val/Qabf",
    "sampler": "random",
    "search": {
        "model.schedule.peak": {"float": [0.0001, 0.01], "log": True},
        "model.network.channels": {"int": [8, 24], "step": 8},
        "model.clip": {"choices": ["compact", "random-tiny"]},
    },
}
PEAK = "model.schedule.peak"


def _write(folder: Path, **changes: object) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SEARCH | changes))
    return str(path)


def _read(folder: Path, **changes: object) -> Search:
    return read_search(_write(folder, **changes), folder)


class _Fits:
    """In place of `fit`: each trial validates three times, and scores what `score` says of its learning rate."""

    def __init__(self, score: Callable[[float, int], float] = lambda peak, step: peak * step) -> None:
        self.score = score
        self.begun: list[str] = []
        self.fails: Callable[[Execution], None] = lambda _: None

    def __call__(self, execution: Execution, name: str, arguments: list[str]) -> None:
        self.begun.append(execution.run.name)
        self.fails(execution)
        (peak,) = (float(word.partition("=")[2]) for word in execution.run.arguments if word.startswith(f"--{PEAK}="))
        number, _, folder = execution.environment[TRIAL_VARIABLE].partition(":")
        run = execution.folder / "fit" / "20260101-000000-aaaa"
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(f"runs_dir: {folder}\nrun_name: fit\npeak: {peak!r}\n")
        latest = run.parent / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(run.name)
        report = TrialReport(Path(folder), int(number))
        for step in (10, 20, 30):
            trainer = _trainer(step, self.score(peak, step))
            report.on_validation_end(trainer, None)  # type: ignore[arg-type]
            if trainer.should_stop:
                return


def _trainer(step: int, score: float, name: str = "val/Qabf") -> Any:
    return SimpleNamespace(
        sanity_checking=False, state=SimpleNamespace(fn="fit"), is_global_zero=True, callback_metrics={name: score},
        global_step=step, max_steps=30, max_epochs=-1, current_epoch=0, is_last_batch=False, should_stop=False,
        strategy=SimpleNamespace(broadcast=lambda value: value),
    )  # fmt: skip


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> _Fits:
    found = _Fits()
    monkeypatch.setattr(Execution, "_call", lambda self, name, arguments: found(self, name, arguments))
    return found


def _run(folder: Path, search: str, trials: int | None = None) -> int:
    return study_search(search, folder / "searches", folder, 1, trials=trials)


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "searches" / "small" / "trials.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_draws_in_the_ranges_and_names_the_best(tmp_path: Path, fits: _Fits) -> None:
    assert _run(tmp_path, _write(tmp_path)) == 0
    rows = _table(tmp_path)
    peaks = [float(row[PEAK]) for row in rows]
    assert len(set(peaks)) == 6
    assert peaks == sorted(peaks, reverse=True)
    assert all(0.0001 <= peak <= 0.01 for peak in peaks)
    assert {row["model.network.channels"] for row in rows} <= {"8", "16", "24"}
    assert {row["model.clip"] for row in rows} == {"compact", "random-tiny"}
    assert [float(row["score"]) for row in rows] == [30 * peak for peak in peaks]
    assert {(row["state"], row["steps"]) for row in rows} == {("finished", "30")}
    best = (tmp_path / "searches" / "small" / "best.yaml").read_text()
    assert yaml.safe_load(best) == {"run_name": "small-best", "peak": peaks[0]}
    assert f"trial {rows[0]['trial']}: val/Qabf {30 * peaks[0]:.6g} after 30 steps" in best
    text = (tmp_path / "searches" / "small" / "trials.md").read_text()
    assert f"| {rows[0]['trial']} | finished | **{30 * peaks[0]:.4f}** | 30 |" in text


def test_ten_trials_tell_which_setting_matters(tmp_path: Path, fits: _Fits, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, _write(tmp_path), 9) == 0
    place = tmp_path / "searches" / "small" / "trials.md"
    assert "Share of each setting" not in place.read_text()
    assert _run(tmp_path, _write(tmp_path), 10) == 0
    shares = re.search(r"Share of each setting .*: ([^:]*)\.$", place.read_text(), re.MULTILINE)
    assert shares is not None
    assert shares[1].startswith(PEAK)
    assert sum(float(share.split()[1]) for share in shares[1].split(", ")) == pytest.approx(1.0, abs=0.02)
    assert capsys.readouterr().err == ""


def test_a_run_that_somebody_has_removed_takes_no_result_with_it(tmp_path: Path, fits: _Fits) -> None:
    assert _run(tmp_path, _write(tmp_path), 2) == 0
    before = _table(tmp_path)
    shutil.rmtree(tmp_path / "searches" / "small" / f"trial000{before[0]['trial']}")
    assert _run(tmp_path, _write(tmp_path), 2) == 0
    assert _table(tmp_path) == before
    assert (tmp_path / "searches" / "small" / "best.yaml").exists()


def test_less_can_be_better(tmp_path: Path, fits: _Fits) -> None:
    assert _run(tmp_path, _write(tmp_path, score={"name": "val/Qabf", "mode": "min"})) == 0
    peaks = [float(row[PEAK]) for row in _table(tmp_path)]
    assert peaks == sorted(peaks)
    assert yaml.safe_load((tmp_path / "searches" / "small" / "best.yaml").read_text())["peak"] == peaks[0]


def test_the_same_search_draws_the_same_however_it_is_cut(tmp_path: Path, fits: _Fits) -> None:
    drawn = []
    for place, parts in (("one", (6,)), ("two", (2, 3, 6))):
        (tmp_path / place).mkdir()
        search = _write(tmp_path / place, sampler={"name": "tpe", "startup": 2})
        assert [_run(tmp_path / place, search, trials) for trials in parts] == [0] * len(parts)
        drawn.append(_table(tmp_path / place))
    assert drawn[0] == drawn[1]
    assert len(fits.begun) == 12


def test_another_seed_draws_otherwise(tmp_path: Path, fits: _Fits) -> None:
    drawn = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        assert _run(tmp_path / str(seed), _write(tmp_path / str(seed), seed=seed), 2) == 0
        drawn.append({row[PEAK] for row in _table(tmp_path / str(seed))})
    assert not drawn[0] & drawn[1]


def test_settings_of_ones_own_come_first(tmp_path: Path, fits: _Fits) -> None:
    own = [{PEAK: peak, "model.network.channels": 16, "model.clip": "compact"} for peak in ("1e-3", 0.005)]
    assert _run(tmp_path, _write(tmp_path, begin=own), 1) == 0
    assert [row[PEAK] for row in _table(tmp_path)] == ["0.001"]
    assert _run(tmp_path, _write(tmp_path, begin=own), 3) == 0
    rows = {row["trial"]: row for row in _table(tmp_path)}
    assert [rows[number][PEAK] for number in "01"] == ["0.001", "0.005"]
    assert rows["2"][PEAK] not in ("0.001", "0.005")


def test_a_bad_trial_is_pruned_and_the_last_validation_prunes_nothing(tmp_path: Path, fits: _Fits) -> None:
    own = [{PEAK: peak, "model.network.channels": 16, "model.clip": "compact"} for peak in (0.004, 0.002, 0.008)]
    pruner = {"name": "median", "startup": 1, "warmup": 1}
    assert _run(tmp_path, _write(tmp_path, begin=own, pruner=pruner), 3) == 0
    rows = _table(tmp_path)
    assert [(row["trial"], row["state"], row["steps"]) for row in rows] == [
        ("2", "finished", "30"),
        ("0", "finished", "30"),
        ("1", "pruned", "20"),
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx([0.24, 0.12, 0.04])
    (tmp_path / "late").mkdir()
    fits.score = lambda peak, step: -peak if step == 30 else 0.0  # worse at the end alone
    third = {"name": "halving", "factor": 3}  # compares at the first and at the third validation
    assert _run(tmp_path / "late", _write(tmp_path / "late", begin=own, pruner=third), 3) == 0
    assert {row["state"] for row in _table(tmp_path / "late")} == {"finished"}


def test_halving_lets_the_best_of_each_validation_go_on(tmp_path: Path, fits: _Fits) -> None:
    own = [{PEAK: peak, "model.network.channels": 16, "model.clip": "compact"} for peak in (0.008, 0.002, 0.004)]
    assert _run(tmp_path, _write(tmp_path, begin=own, pruner={"name": "halving", "factor": 2}), 3) == 0
    states = {row["trial"]: (row["state"], row["steps"]) for row in _table(tmp_path)}
    assert states["0"] == ("finished", "30")
    assert states["1"] == states["2"] == ("pruned", "10")


def test_what_diverges_is_a_result(tmp_path: Path, fits: _Fits) -> None:
    def fail(execution: Execution) -> None:
        if execution.run.name == "trial0001":
            report = TrialReport(execution.study, 1)
            report.on_exception(_trainer(5, 0.0), None, NotFiniteError("The loss is not finite at step 5."))  # type: ignore[arg-type]
            raise _EndedError("fit ended with exit code 1")

    fits.fails = fail
    assert _run(tmp_path, _write(tmp_path), 3) == 0
    rows = _table(tmp_path)
    assert (rows[-1]["trial"], rows[-1]["state"], rows[-1]["score"]) == ("1", "diverged", "")
    text = (tmp_path / "searches" / "small" / "trials.md").read_text()
    assert "- trial 1 diverged: The loss is not finite at step 5." in text
    assert _run(tmp_path, _write(tmp_path), 3) == 0
    assert fits.begun == ["trial0000", "trial0001", "trial0002"]


def test_a_last_score_that_is_no_number_is_no_score(tmp_path: Path, fits: _Fits) -> None:
    fits.score = lambda _, step: float("nan") if step == 30 else 1.0
    assert _run(tmp_path, _write(tmp_path), 1) == 0
    (row,) = _table(tmp_path)
    assert row["state"] == "diverged"
    assert not (tmp_path / "searches" / "small" / "best.yaml").exists()


def test_a_failure_is_tried_again_and_not_counted_twice(tmp_path: Path, fits: _Fits) -> None:
    def fail(execution: Execution) -> None:
        if execution.run.name == "trial0001":
            raise _EndedError("fit ended with exit code 1: no disk")

    fits.fails = fail
    assert _run(tmp_path, _write(tmp_path), 3) == 1
    assert {row["trial"]: row["state"] for row in _table(tmp_path)} == {
        "0": "finished", "1": "failed", "2": "finished",
    }  # fmt: skip
    fits.fails = lambda _: None
    assert _run(tmp_path, _write(tmp_path), 3) == 0
    assert fits.begun == ["trial0000", "trial0001", "trial0002", "trial0001"]
    assert {row["state"] for row in _table(tmp_path)} == {"finished"}


def test_if_the_first_trial_fails_no_other_begins(tmp_path: Path, fits: _Fits) -> None:
    def fail(_: Execution) -> None:
        raise _EndedError("fit ended with exit code 1: no such option")

    fits.fails = fail
    assert _run(tmp_path, _write(tmp_path)) == 1
    assert fits.begun == ["trial0000"]


def test_a_stopped_trial_goes_on(tmp_path: Path, fits: _Fits) -> None:
    def stop(execution: Execution) -> None:
        raise _EndedError("fit ended with exit code 75", stopped=True)

    fits.fails = stop
    assert _run(tmp_path, _write(tmp_path), 1) == 75
    fits.fails = lambda _: None
    assert _run(tmp_path, _write(tmp_path), 1) == 0
    assert fits.begun == ["trial0000"] * 2


class _KilledError(BaseException):
    """As a kill: nothing is done after it."""


@pytest.mark.parametrize("moment", ["drawn", "trained", "pruned", "told"])
def test_a_kill_at_any_moment_neither_loses_nor_doubles_a_trial(
    tmp_path: Path, fits: _Fits, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    place = tmp_path / "searches" / "small"
    assert _run(tmp_path, _write(tmp_path), 2) == 0
    if moment == "drawn":
        Trials(place).study.ask()  # begun, and nothing drawn for it yet
    elif moment == "told":
        with (place / JOURNAL).open("ab") as stream:
            stream.write(b'{"op_code":6,"work')  # half a line
    else:
        trials = Trials(place)
        number = trials.study.ask().number
        with monkeypatch.context() as patched:
            patched.setattr(Execution, "execute", _killed(moment, trials, number))
            with pytest.raises(_KilledError):
                _run(tmp_path, _write(tmp_path), 3)
    assert _run(tmp_path, _write(tmp_path), 4) == 0
    rows = {row["trial"]: row["state"] for row in _table(tmp_path)}
    assert rows == {
        "0": "finished",
        "1": "finished",
        "2": "pruned" if moment == "pruned" else "finished",
        "3": "finished",
    }
    assert fits.begun.count("trial0002") == (0 if moment == "pruned" else 1)
    whole = tmp_path / "whole"
    whole.mkdir()
    assert _run(whole, _write(whole), 4) == 0
    assert {row["trial"]: row[PEAK] for row in _table(whole)} == {row["trial"]: row[PEAK] for row in _table(tmp_path)}


def _killed(moment: str, trials: Trials, number: int) -> Callable[[Execution], None]:
    execute = Execution.execute

    def ends(execution: Execution) -> None:
        if moment == "trained":
            execute(execution)
        else:
            trials.trial(number).set_user_attr(PRUNED, 10)
        raise _KilledError

    return ends


def test_a_validation_that_is_made_again_is_counted_once(tmp_path: Path) -> None:
    trials = Trials(tmp_path, _read(tmp_path).rules)
    number = trials.study.ask().number
    report = TrialReport(tmp_path, number)
    for step, score in ((10, 0.5), (20, 0.6), (10, 0.5), (20, 0.6), (30, 0.7)):
        report.on_validation_end(_trainer(step, score), None)  # type: ignore[arg-type]
    (trial,) = Trials(tmp_path).all()
    assert trial.intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}
    assert trial.user_attrs == {"steps": [10, 20, 30]}


def test_a_score_that_is_not_logged_is_named(tmp_path: Path) -> None:
    trials = Trials(tmp_path, _read(tmp_path).rules)
    report = TrialReport(tmp_path, trials.study.ask().number)
    trainer = _trainer(10, 0.5, name="val/EN")
    refusal(
        lambda: report.on_validation_end(trainer, None),  # type: ignore[arg-type]
        MissingScoreError, "val/Qabf", "It logs val/EN",
    )  # fmt: skip


def test_only_a_fit_of_a_search_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRIAL_VARIABLE, raising=False)
    assert trial_reports() == []
    monkeypatch.setenv(TRIAL_VARIABLE, "7:/some/where: else")
    (report,) = trial_reports()
    assert isinstance(report, TrialReport)
    assert (report.number, report.folder) == (7, Path("/some/where: else"))


@brings(
    "options",
    "a search whose file has changed since it was begun",
    "refused",
    "another name, or its folder removed; the number of trials may change",
)
def test_a_changed_search_is_refused_but_for_the_number_of_trials(tmp_path: Path, fits: _Fits) -> None:
    assert _run(tmp_path, _write(tmp_path), 1) == 0
    assert _run(tmp_path, _write(tmp_path, trials=2)) == 0
    for changes in ({"seed": 1}, {"options": {"trainer.max_steps": 2}}, {"search": {PEAK: {"float": [0.1, 0.2]}}}):
        search = _write(tmp_path, **changes)
        with pytest.raises(UsageError, match=r"have changed since it was begun .* another name"):
            _run(tmp_path, search)
    with pytest.raises(UsageError, match="have changed since"):
        study_search(_write(tmp_path), tmp_path / "searches", tmp_path, 1, options=["trainer.max_steps=3"])
    assert fits.begun == ["trial0000", "trial0001"]


def test_a_damaged_record_is_refused(tmp_path: Path, fits: _Fits, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, _write(tmp_path), 1) == 0
    journal = tmp_path / "searches" / "small" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    line = ["study", "search", _write(tmp_path), f"--searches_dir={tmp_path / 'searches'}", f"--root={tmp_path}"]
    for content in ([lines[0], b"{\n", *lines[1:]], [b"[1]\n"], [b'{"op_code": 99}\n']):
        journal.write_bytes(b"".join(content))
        refused(line, capsys, str(journal), "is no record of a search", "Remove")
    elsewhere = tmp_path / "elsewhere"
    journal.rename(elsewhere)
    journal.symlink_to(elsewhere)
    refused(line, capsys, "outside of the folder")


def test_what_is_in_a_range() -> None:
    assert Range("float", 0.1, 1.0).holds(0.1)
    assert not Range("float", 0.1, 1.0).holds(1.1)
    assert Range("int", 8, 24, step=8).holds(16)
    assert not Range("int", 8, 24, step=8).holds(12)
    assert Range("choices", choices=("a", "b")).holds("b")
    assert not Range("choices", choices=("a", "b")).holds("c")


@brings(
    "options",
    "a search with an unknown key, score, sampler, pruner or range",
    "refused",
    "names the file, the entry, its value and what it can be",
)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown colour"),
        ({"config": None}, "it has no config"),
        ({"config": "mgfusoin.yaml"}, "no such file"),
        ({"data": {"folder": "x"}}, "data: unknown folder"),
        ({"trials": 0}, "trials is '0'; it must be a whole number from 1"),
        ({"trials": None}, "trials is 'None'"),
        ({"seed": -1}, "seed is '-1'"),
        ({"score": "test/Qabf"}, "score is 'test/Qabf'; it must be a logged validation score"),
        ({"score": {"name": "val/Qabf", "mode": "up"}}, "score.mode is 'up'"),
        ({"sampler": "grid"}, "sampler must be random, tpe"),
        ({"sampler": {"name": "random", "startup": 3}}, "sampler: unknown startup"),
        ({"pruner": "hyperband"}, "pruner must be none, median, halving"),
        ({"pruner": {"name": "halving", "factor": 1}}, "pruner.factor is '1'; it must be a whole number from 2"),
        ({"search": {}}, "it searches nothing"),
        ({"search": {PEAK: {"uniform": [1, 2]}}}, "give one of float"),
        ({"search": {PEAK: {"float": [1, 2], "base": 10}}}, "unknown base"),
        ({"search": {PEAK: {"float": [1, 2, 3]}}}, "must be a list of two values"),
        ({"search": {PEAK: {"float": ["few", 2]}}}, "'few' is no number"),
        ({"search": {PEAK: {"int": [1.5, 2]}}}, "'1.5' is no whole number"),
        ({"search": {PEAK: {"float": [2, 1]}}}, "LOW must be less than HIGH"),
        ({"search": {PEAK: {"float": [0, 1], "log": True}}}, "LOW must be more than 0"),
        ({"search": {PEAK: {"choices": ["a", "a"]}}}, "a value is given twice"),
        ({"options": {PEAK: 0.1}}, "model.schedule.peak is searched, and given as '--model.schedule.peak=0.1' too"),
        ({"begin": {PEAK: 0.1}}, "begin must be a list"),
        ({"begin": [{PEAK: 0.001}]}, r"begin\[0\] has no value for model.clip, model.network.channels"),
        (
            {"begin": [{PEAK: 1.0, "model.network.channels": 8, "model.clip": "compact"}]},
            r"begin\[0\].model.schedule.peak is '1.0', which is not in its range",
        ),
    ],
)
def test_refuses_what_no_search_can_mean(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _read(tmp_path, **changes)


def test_refuses_without_optuna(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivif.files.libraries.find_spec", lambda _: None)
    line = ["study", "search", _write(tmp_path), f"--searches_dir={tmp_path / 'searches'}"]
    refused(line, capsys, "study search needs optuna: pip install 'ivif-lightning[search]'")
    assert not (tmp_path / "searches").exists()


@pytest.mark.parametrize("path", sorted((CONFIGS / "searches").glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_searches_can_be_read(path: Path, tmp_path: Path) -> None:
    found = read_search(path.name, tmp_path)
    assert found.name == path.stem
    assert found.begin
    assert len(found.rules.digest) == 64


@pytest.mark.slow
def test_a_killed_search_goes_on_and_its_best_settings_repeat_the_best_trial(tmp_path: Path) -> None:
    options = TINY_STUDY | {
        "trainer.max_steps": 12, "trainer.check_val_every_n_epoch": None, "trainer.val_check_interval": 4,
        "evaluator.metrics": ["Qabf"], "checkpoint.every_n_train_steps": 2, "data.train_length": 8,
    }  # fmt: skip
    space = {PEAK: {"float": [0.0001, 0.01], "log": True}}
    begin = [{PEAK: 0.002}]
    search = _write(tmp_path, options=options, search=space, begin=begin, trials=2)
    command = [sys.executable, "-m", "ivif", "study", "search", search, f"--searches_dir={tmp_path}"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    place = tmp_path / "small"
    while not list(place.glob("trial0000/fit/*/checkpoints/last.ckpt")) and started.poll() is None:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert subprocess.run(command, check=False).returncode == 0
    folders = [path for path in place.glob("trial*/fit/*") if not path.is_symlink()]
    assert len(folders) == 2
    assert not list(place.glob("trial*/fit/*/splits/*test*"))
    with (place / "trials.csv").open(newline="") as stream:
        best, second = csv.DictReader(stream)
    assert {best["trial"], second["trial"]} == {"0", "1"}
    repeated = ["fit", "--config", str(place / "best.yaml"), f"--runs_dir={tmp_path / 'runs'}", "--run_name=tiny"]
    assert subprocess.run([sys.executable, "-m", "ivif", *repeated], check=False).returncode == 0
    with (newest_run(tmp_path / "runs") / "metrics.csv").open(newline="") as stream:
        scores = [row["val/Qabf"] for row in csv.DictReader(stream) if row["val/Qabf"]]
    assert float(scores[-1]) == float(best["score"])
    assert len(scores) == 3
