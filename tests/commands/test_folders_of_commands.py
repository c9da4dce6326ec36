"""Which commands make run folders, what these are called, and what points at them."""

from pathlib import Path

import pytest

from ivif.commands.cli import main
from ivif.commands.train.run_start import mark_latest
from tests.commands.runs import newest_run, tiny_run
from tests.inputs import brings
from tests.refusals import accepted, whole


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training called `tiny` by its command line, and so in its configuration."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(tiny_run("fit", runs, "--wandb=offline")) == 0
    return newest_run(runs)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@brings("options", "`validate`", "works", "prints its tables, and makes no file or folder")
def test_validate_keeps_nothing(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = whole(run.parents[1])
    shown = accepted(
        ["validate", f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'checkpoints/last.ckpt'}"], capsys
    )
    assert "MGFusion" in shown
    assert "Run folder" not in shown
    assert not list(here.iterdir())
    assert whole(run.parents[1]) == before


@brings("options", "`predict --output_dir`", "works", "writes into that folder alone, no run folder beside it")
def test_predict_writes_into_its_folder_alone(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = whole(run.parents[1])
    accepted(
        [
            "predict",
            f"--config={run / 'config.yaml'}",
            f"--ckpt_path={run / 'checkpoints/last.ckpt'}",
            "--output_dir=out",
        ],
        capsys,
    )
    assert [path.name for path in here.iterdir()] == ["out"]
    assert sorted(path.suffix for path in (here / "out").iterdir()) == [".json", ".png", ".png"]
    assert whole(run.parents[1]) == before


@brings(
    "options", "`validate --wandb offline`", "works", "a dashboard that its own command line asks for has a run folder"
)
def test_validate_on_a_dashboard_has_a_folder(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted(["validate", f"--run={run}", "--runs_dir=runs", "--wandb=offline", "--trainer.accelerator=cpu"], capsys)
    folder = (here / "runs" / "mgfusion-synthetic" / "latest-validate").resolve()
    assert {"config.yaml", "tables", "wandb"} <= {path.name for path in folder.iterdir()}


@brings(
    "options",
    "`test --config RUN/config.yaml`, whose run has a name",
    "works",
    "called after method and data, not the run",
)
def test_a_name_in_a_file_is_that_of_trainings(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "test",
        f"--config={run / 'config.yaml'}",
        f"--ckpt_path={run / 'checkpoints/last.ckpt'}",
        "--runs_dir=runs",
    ]
    accepted(line, capsys)
    accepted([*line, "--run_name", "mine"], capsys)
    assert {path.name for path in (here / "runs").iterdir()} == {"mgfusion-synthetic", "mine"}
    for name in ("mgfusion-synthetic", "mine"):
        links = {path.name: path.resolve() for path in (here / "runs" / name).iterdir() if path.is_symlink()}
        assert links.keys() == {"latest", "latest-test"}
        assert all((target / "tables" / "test.csv").is_file() for target in links.values())


def test_the_latest_training_stays_the_latest(tmp_path: Path) -> None:
    def latest() -> dict[str, str]:
        return {link.name: link.resolve().name for link in tmp_path.iterdir() if link.is_symlink()}

    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / name).mkdir()
    mark_latest(tmp_path / "a", "test")
    assert latest() == {"latest": "a", "latest-test": "a"}
    mark_latest(tmp_path / "b", "predict")
    assert latest() == {"latest": "b", "latest-test": "a", "latest-predict": "b"}
    mark_latest(tmp_path / "c")
    mark_latest(tmp_path / "d", "test")
    assert latest() == {"latest": "c", "latest-test": "d", "latest-predict": "b"}
    mark_latest(tmp_path / "e")
    assert latest()["latest"] == "e"
