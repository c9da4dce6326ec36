"""One process at a time makes a file that many want."""

from pathlib import Path
from threading import Event, Thread

from ivif.files.locks import made_once


def test_who_comes_later_waits_and_finds_the_file(tmp_path: Path) -> None:
    path, found, entered = tmp_path / "folder" / "file", [], Event()

    def come_later() -> None:
        with made_once(path):
            found.append(path.exists())
            entered.set()

    with made_once(path):
        later = Thread(target=come_later)
        later.start()
        assert not entered.wait(0.3)
        path.write_text("made")
    assert entered.wait(30)
    later.join()
    assert found == [True]
