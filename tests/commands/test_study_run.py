"""`study run`: grids become runs; what is finished is skipped, what was stopped goes on, a failure stops nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ivif.commands.errors import UsageError
from ivif.commands.study.execute import Execution
from ivif.commands.study.grid import read_study
from ivif.commands.study.planned import PlannedRun, changes
from ivif.commands.study.record import read_record
from ivif.commands.study.run import study_run
from ivif.configs import CONFIGS
from tests.commands.runs import TINY_STUDY

STUDIES = sorted(path.name for path in (CONFIGS / "studies").glob("*.yaml"))
STUDY = {
    "methods": {"one": {"config": "mgfusion.yaml"}},
    "data": {"scenes": {"file": "synthetic.yaml"}},
    "seeds": [0, 1],
}


def _write(folder: Path, **changes: object) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return str(path)


def _runs(folder: Path, **changes: object) -> list[PlannedRun]:
    return read_study(_write(folder, **changes), folder)[1]


def test_crosses_methods_data_ablations_and_seeds(tmp_path: Path) -> None:
    runs = _runs(
        tmp_path,
        data={"a": {"file": "synthetic.yaml"}, "b": {"file": "tno.yaml", "root": "TNO"}},
        ablations={"full": {}, "plain": {"options": {"model.network.use_cff": False}}},
        tests={"tno": {"file": "tno.yaml", "convention": ["standard", "vifb"]}},
        seeds=[3],
    )
    assert [run.name for run in runs] == [
        "one-full-a-seed3",
        "one-plain-a-seed3",
        "one-full-b-seed3",
        "one-plain-b-seed3",
    ]
    assert f"--data.root={tmp_path / 'TNO'}" in runs[2].arguments
    assert "--model.network.use_cff=false" in runs[3].arguments
    assert "--seed_everything=3" in runs[3].arguments
    assert [test.name for test in runs[0].tests] == ["test-tno-standard", "test-tno-vifb"]
    assert runs[0].tests[1].arguments == ("--data=tno.yaml", "--convention=vifb")


def test_a_stage_stands_before_what_begins_from_it(tmp_path: Path) -> None:
    methods = {
        "second": {"config": "mgfusion.yaml", "after": "first", "options": {"init_from": "{after}"}},
        "first": {"config": "mgfusion.yaml", "seeds": [7], "tables": False},
    }
    first, *second = _runs(tmp_path, methods=methods)
    assert (first.name, first.tests) == ("first-seed7", ())
    assert [run.after for run in second] == ["first-seed7", "first-seed7"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown colour"),
        ({"methods": {"one": {"configs": "mgfusion.yaml"}}}, "methods.one: unknown configs"),
        ({"data": {"scenes": {"file": "synthetic.yaml", "path": "x"}}}, "data.scenes: unknown path"),
        ({"ablations": {"full": {"seeds": [0]}}}, "ablations.full: unknown seeds"),
        ({"tests": {"t": {"conventions": "vifb"}}}, "tests.t: unknown conventions"),
        ({"folders": {"other": {"path": ".", "method": "x"}}}, "folders.other: unknown method"),
        ({"seeds": []}, "no seeds"),
        ({"seeds": None}, "no seeds"),
        ({"seeds": "0, 1"}, "no seeds"),
        ({"seeds": [1, 1]}, "given twice"),
        ({"data": {}}, "it has no data"),
        ({"methods": {}, "data": {}, "folders": {"a": {"path": ".", "config": "detection.yaml"}}}, "it has no data"),
        ({"folders": ["one"]}, "folders must map names to folders"),
        ({"folders": {"one": "."}, "tests": {"t": {"file": "tno.yaml"}}}, "a method and a folder are both the row one"),
        ({"folders": {"one-seed0": "."}, "tests": {"t": {"file": "tno.yaml"}}}, "two runs have the name one-seed0"),
        ({"methods": {"a-b": {}, "a": {}}, "ablations": {"b": {}, "b-b": {}}}, "two runs have the name a-b-b-seed0"),
        ({"folders": {"other": "nowhere"}, "tests": {"t": {"file": "tno.yaml"}}}, "is no folder of pictures"),
        ({"methods": {"one": {"after": "one"}}}, "comes after itself"),
        ({"methods": {"one": {"after": "two"}}}, "there is no method 'two'"),
        ({"methods": {"one": {"config": "mgfusoin.yaml"}}}, "no such file"),
    ],
)
def test_refuses_what_no_study_can_mean(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _runs(tmp_path, **changes)


def test_refuses_a_run_whose_configuration_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Execution, "_call", lambda self, *_: self._write())
    monkeypatch.setattr(Execution, "_fit", lambda self: self._note("trained", "x"))
    monkeypatch.setattr(Execution, "_test", lambda self, name, _: self._note_test(name, "y"))
    assert study_run(_write(tmp_path), tmp_path / "studies", tmp_path, 1, dry_run=False) == 0
    with pytest.raises(
        UsageError, match=r"one-seed0: its configuration has changed .*\(--trainer.max_steps=2 is new\)"
    ):
        study_run(_write(tmp_path, options={"trainer.max_steps": 2}), tmp_path / "studies", tmp_path, 1, dry_run=False)


def test_a_run_is_known_by_what_its_files_say(tmp_path: Path) -> None:
    config, data = tmp_path / "mine.yaml", tmp_path / "data.yaml"
    wanted = {"methods": {"one": {"config": str(config)}}, "data": {"scenes": {"file": str(data)}}}
    config.write_text("trainer: {max_steps: 1, devices: 1}\n")
    data.write_text("class_path: SyntheticDataModule\n")
    first, _ = _runs(tmp_path, **wanted)
    begun = first.settings()
    config.write_text("# In other words the same.\ntrainer:\n  devices: 1\n  max_steps: 1\n")
    assert changes(begun, first.settings()) == ""
    config.write_text("trainer: {max_steps: 2, devices: 1}\n")
    assert changes(begun, first.settings()) == f"what --config={config} says"
    config.write_text("trainer: {max_steps: 1, devices: 1}\n")
    data.write_text("class_path: SyntheticDataModule\ninit_args: {scene_seed: 1}\n")
    assert changes(begun, first.settings()) == f"what --data={data} says"


def test_what_changed_is_named_and_two_ways_to_write_a_path_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(root: Path, **given: object) -> dict[str, str]:
        data = {"scenes": {"file": "tno.yaml", "root": "TNO"}}
        return read_study(_write(tmp_path, data=data, **given), root)[1][0].settings()

    monkeypatch.chdir(tmp_path)
    options = {"model.clip": "compact", "trainer.max_steps": 600}
    begun = settings(tmp_path, options=options)
    assert changes(begun, settings(Path("nowhere/.."), options=options)) == ""
    found = changes(begun, settings(tmp_path / "other", options={"trainer.max_steps": 60, "loading.num_workers": 0}))
    assert found == (
        f"--data.root was {tmp_path / 'TNO'}, and is {tmp_path / 'other' / 'TNO'}; "
        "--model.clip=compact is left out; --trainer.max_steps was 600, and is 60; --loading.num_workers=0 is new"
    )
    orders = (["mgfusion.yaml", "mgfusion_cpu.yaml"], ["mgfusion_cpu.yaml", "mgfusion.yaml"])
    first, second = (settings(tmp_path, methods={"one": {"config": order}}) for order in orders)
    assert changes(first, second).startswith("--config was mgfusion.yaml mgfusion_cpu.yaml, and is mgfusion_cpu.yaml")


def test_a_folder_with_a_config_is_a_row_whose_detector_learns_from_its_pictures(tmp_path: Path) -> None:
    folders = {"SeAFusion": {"path": ".", "config": "detection.yaml", "options": {"trainer.max_steps": 7}}}
    *_, first, second = _runs(tmp_path, folders=folders)
    assert [run.name for run in (first, second)] == ["SeAFusion-seed0", "SeAFusion-seed1"]
    assert (first.kind, first.row, first.config) == ("run", "SeAFusion", ("detection.yaml",))
    wanted = ["--model.source.kind=folder", f"--data.fused_dir={tmp_path}", "--trainer.max_steps=7"]
    assert [word for word in first.arguments if word in wanted] == wanted
    assert [test.name for test in first.tests] == ["test-test"]


@pytest.mark.parametrize(("scored", "state"), [(3, "failed"), (4, "finished")])
def test_a_folder_without_a_picture_of_every_pair_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: int, state: str
) -> None:
    def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        says = f"print('Scored: {scored} of 4 pairs (stage test).')"
        return subprocess.Popen([sys.executable, "-c", says], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr("ivif.commands.study.execute.subprocess", _Subprocess(popen))
    study = _write(tmp_path, methods={}, folders={"sea": "."}, tests={"t": {"file": "tno.yaml"}})
    assert study_run(study, tmp_path / "studies", tmp_path, 1, dry_run=False) == (state == "failed")
    (record,) = read_record(tmp_path / "studies" / "small")
    assert record.state == state
    assert ("has usable pictures of 3 of 4 pairs" in record.problem) == (state == "failed")


def test_a_failure_stops_nothing_else_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(command[3:])
        return subprocess.Popen([sys.executable, "-c", "print('error: no luck'); raise SystemExit(1)"], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr("ivif.commands.study.execute.subprocess", _Subprocess(popen))
    for count in (2, 4):
        assert study_run(_write(tmp_path), tmp_path / "studies", tmp_path, 2, dry_run=False) == 1
        assert len(started) == count
    records = read_record(tmp_path / "studies" / "small")
    assert [record.state for record in records] == ["failed", "failed"]
    assert "no luck" in records[0].problem


class _Subprocess:
    """What `execute` uses of subprocess."""

    STDOUT, DEVNULL = subprocess.STDOUT, subprocess.DEVNULL

    def __init__(self, popen: object) -> None:
        self.Popen = popen


@pytest.mark.parametrize("name", STUDIES)
def test_ready_studies_can_be_read(name: str, tmp_path: Path) -> None:
    found, runs = read_study(name, tmp_path)
    assert found == Path(name).stem
    assert all(run.settings() for run in runs)
    assert any(run.tests for run in runs)


@pytest.mark.slow
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    options = TINY_STUDY | {"trainer.max_steps": 40, "checkpoint.every_n_train_steps": 2}
    study = _write(tmp_path, options=options, seeds=[0])
    command = [sys.executable, "-m", "ivif", "study", "run", study, f"--studies_dir={tmp_path}"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    place = tmp_path / "small" / "one-seed0" / "fit"
    while not list(place.glob("*/checkpoints/last.ckpt")) and started.poll() is None:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert subprocess.run(command, check=False).returncode == 0
    (folder,) = [path for path in place.iterdir() if not path.is_symlink()]
    (record,) = read_record(tmp_path / "small")
    assert (record.state, record.folder) == ("finished", str(folder.relative_to(tmp_path / "small")))
    assert (tmp_path / "small" / record.tables[0] / "test.csv").is_file()
