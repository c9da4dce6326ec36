"""Packs in child processes that are killed at each step of writing, one later each time; run by tests of `data pack`.

After each kill the place must be unfinished for a reader, or whole; the last call ends as an undisturbed one.
"""

import os
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import litdata  # noqa: F401 - so that children do not import it

from ivif.datamodules.datasets.packed.opening import open_table
from ivif.datamodules.datasets.packed.table import PackError
from ivif.datamodules.folder import FolderDataModule
from tests.kill_training import kill_while_writing
from tests.packs import packed


def call(root: Path, out: Path, writing: int | None) -> bool:
    """Packs in a child; whether it was killed."""
    child = os.fork()
    if not child:
        sys.stdout = sys.stderr
        if writing is not None:
            kill_while_writing(writing)
        try:
            packed(FolderDataModule(root=root), out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def state(out: Path) -> str:
    """What a reader finds."""
    try:
        return "finished" if open_table(out) is not None else "nothing"
    except PackError as error:
        if "not finished" in str(error):
            return "unfinished"
        raise


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def main(root: Path, base: Path) -> None:
    """Kills at step 1, 2, 3, ... until a call ends by itself."""
    whole = packed(FolderDataModule(root=root), base / "whole")
    step = 1
    while call(root, base / "killed", step):
        found = state(base / "killed")
        sys.stdout.write(f"{found}\n")
        if found == "finished":
            assert content(base / "killed") == content(whole)
        step += 1
    assert content(base / "killed") == content(whole)
    assert not (base / "killed" / ".packing").exists()
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
