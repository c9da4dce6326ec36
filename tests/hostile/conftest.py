"""What every hostile case runs in: a folder of its own, with a watch on all that lies around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
SECONDS = 180
"""Longest that one case may take, so that a hang is a failure with a name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a case, four levels down; the case fails if anything appears beside or above it."""
    place = tmp_path / "one" / "two" / "three" / "here"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("IVIF_WEIGHTS_DIR", str(place / "weights"))
    before = _around(place, tmp_path)
    yield place
    assert _around(place, tmp_path) == before, "something was written outside the working folder"


def _around(place: Path, root: Path) -> list[str]:
    """Everything under `root` but outside `place`, and the repository's own entries."""
    beside = [str(path) for folder in place.parents if folder.is_relative_to(root) for path in sorted(folder.iterdir())]
    ours = [str(path) for path in sorted(REPOSITORY.iterdir()) if not path.name.startswith(".")]
    return beside + ours
