"""What of a start that failed is removed, and what never is."""

from pathlib import Path

import pytest

from ivif.commands.train.run_start import mark_latest, remove_failed_start


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
    remove_failed_start(folder, [folder])
    assert list(folder.parent.iterdir()) == [other]


def test_the_folders_that_the_start_made_go_where_nothing_else_is_in_them(folder: Path) -> None:
    runs = folder.parent.parent
    (runs / "other").mkdir()
    remove_failed_start(folder, [folder, folder.parent, runs])
    assert list(runs.iterdir()) == [runs / "other"]


def test_a_folder_that_was_there_stays_even_if_it_is_empty(folder: Path) -> None:
    remove_failed_start(folder, [folder])
    assert not list(folder.parent.iterdir())


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoints/last.ckpt", "notes.txt"])
def test_whatever_else_is_there_is_of_value(name: str, folder: Path) -> None:
    (folder / name).touch()
    remove_failed_start(folder, [folder])
    assert (folder / name).is_file()
    assert (folder / "config.yaml").is_file()


def test_a_run_whose_training_began_stays(folder: Path) -> None:
    mark_latest(folder)
    remove_failed_start(folder, [folder])
    assert (folder / "config.yaml").is_file()


def test_a_folder_that_cannot_be_removed_hides_no_other_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(f"{path} is gone")

    monkeypatch.setattr("ivif.commands.train.run_start.shutil.rmtree", refuse)
    remove_failed_start(folder, [folder])
    assert folder.is_dir()
