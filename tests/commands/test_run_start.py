"""What of a start that failed is removed, and what never is."""

from pathlib import Path

import pytest

from ivif.commands.train.run_folder import mark_latest, remove_failed_start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a start leaves."""
    folder = tmp_path / "runs" / "name" / "one"
    (folder / "splits").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for name in ("config.yaml", "environment.json", ".lock", "splits/used.yaml"):
        (folder / name).touch()
    return folder


def test_what_every_start_writes_goes_and_other_runs_stay(folder: Path) -> None:
    other = folder.parent / "two"
    other.mkdir()
    remove_failed_start(folder)
    assert list(folder.parent.iterdir()) == [other]
    other.rmdir()


def test_the_parent_goes_where_nothing_else_is_in_it(folder: Path) -> None:
    remove_failed_start(folder)
    assert not folder.parent.exists()
    assert folder.parent.parent.exists()


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/last.ckpt", "notes.txt"])
def test_whatever_else_is_there_is_of_value(name: str, folder: Path) -> None:
    (folder / name).touch()
    remove_failed_start(folder)
    assert (folder / name).is_file()
    assert (folder / "config.yaml").is_file()


def test_a_run_whose_training_began_stays(folder: Path) -> None:
    mark_latest(folder)
    remove_failed_start(folder)
    assert (folder / "config.yaml").is_file()


def test_a_folder_that_cannot_be_removed_hides_no_other_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(f"{path} is gone")

    monkeypatch.setattr("ivif.commands.train.run_folder.shutil.rmtree", refuse)
    remove_failed_start(folder)
    assert folder.is_dir()
