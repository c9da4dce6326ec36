"""`--submit` on a real SLURM: jobs that are queued again in the middle end as one machine does."""

import re
from pathlib import Path

import pytest
import yaml

from ivif.callbacks.run_log import read_rows
from ivif.commands.cli import main
from ivif.commands.study.record import read_record
from tests.cluster.conftest import ENVIRONMENT
from tests.cluster.local_slurm import LocalSlurm, wait_until
from tests.commands.runs import TINY_STUDY
from tests.refusals import accepted

pytest.importorskip("submitit")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

PACE = "{class_path: tests.cluster.pace.Pace, init_args: {seconds: 0.5}}"
STUDY = {
    "methods": {"one": {"config": "mgfusion.yaml"}},
    "data": {"scenes": {"file": "synthetic.yaml"}},
    "seeds": [0, 1],
    "options": TINY_STUDY | {"trainer.max_steps": 20, "trainer.callbacks+": PACE},
}


@pytest.fixture
def environment(slurm: LocalSlurm, monkeypatch: pytest.MonkeyPatch) -> LocalSlurm:
    """This process as a login node of the cluster."""
    for name, value in (slurm.environment | ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    return slurm


def _interrupt(slurm: LocalSlurm, printed: str, task: int) -> str:
    """Signals a task of the array as SLURM does before the time limit; its number."""
    found = re.search(r"submitted: (\d+)_0", printed)
    assert found is not None, printed
    number = f"{found[1]}_{task}"
    slurm.ask("scancel", "--signal=USR2", number)
    return number


def test_a_study_ends_with_the_table_of_one_machine(
    environment: LocalSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "jobs.yaml").write_text("timeout_min: 30\ncpus_per_task: 1\n")
    run = ["study", "run", str(tmp_path / "small.yaml"), f"--root={tmp_path}"]
    submit = [*run, f"--studies_dir={tmp_path / 'cluster'}", f"--submit={tmp_path / 'jobs.yaml'}"]
    printed = accepted(submit, capsys)
    place = tmp_path / "cluster" / "small"
    wait_until(lambda: any(len(read_rows(log)) > 3 for log in place.glob("one-seed1/fit/*/metrics.csv")), 300, "steps")
    number = _interrupt(environment, printed, 1)
    wait_until(lambda: all(one.state == "finished" for one in read_record(place)), 900, "the study's end")
    assert int(environment.job(number)["Restarts"]) == 1
    assert "Restored all states" in (place / "one-seed1" / "fit.log").read_text()
    assert "All 2 runs are finished" in accepted(submit, capsys)
    assert main([*run, f"--studies_dir={tmp_path / 'here'}"]) == 0
    tables = [tmp_path / name / "small" for name in ("cluster", "here")]
    for table in tables:
        accepted(["study", "table", str(table)], capsys)
    for name in ("summary.csv", "per_image.csv", "tables.md"):
        there, here = ((table / "tables" / name).read_text() for table in tables)
        assert there == here
    assert len((tables[0] / "tables" / "per_image.csv").read_text().splitlines()) > 2


def test_shards_end_with_the_pictures_of_one_machine(
    environment: LocalSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(["data", "scenes", f"--out={tmp_path / 'scenes'}", "--count=24", "--size=[32,32]"], capsys)
    (tmp_path / "jobs.yaml").write_text("shards: 2\ntimeout_min: 30\ncpus_per_task: 1\n")
    predict = ["predict", "--config=classic.yaml", "--data=folder.yaml", f"--data.root={tmp_path / 'scenes'}"]
    predict += ["--trainer.accelerator=cpu", "--loading.num_workers=0", f"--runs_dir={tmp_path / 'runs'}"]
    out = tmp_path / "cluster"
    submit = [*predict, f"--output_dir={out}", f"--submit={tmp_path / 'jobs.yaml'}", f"--trainer.callbacks+={PACE}"]
    printed = accepted(submit, capsys)
    wait_until(lambda: len(list(out.rglob("*.png"))) > 2, 300, "pictures")
    number = _interrupt(environment, printed, 0)
    wait_until(lambda: len(list(out.glob("shards/*/done.json"))) == 2, 300, "all shards")
    assert int(environment.job(number)["Restarts"]) == 1
    accepted(["predict", "merge", str(out)], capsys)
    accepted([*predict, f"--output_dir={tmp_path / 'here'}"], capsys)
    there, here = (
        {path.name: path.read_bytes() for path in folder.glob("*.png")} for folder in (out, tmp_path / "here")
    )
    assert len(here) == 24
    assert there == here
