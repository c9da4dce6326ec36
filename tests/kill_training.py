"""Trains in child processes that are killed at seeded moments, and goes on; run by tests of resuming.

Half of the moments are times since training began, half are steps inside the writing of a file; both within what the
run still has to do.
"""

import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest
import torch

from ivif.callbacks.checkpoint_io import WholeFileCheckpointIO
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_log import cut_log
from ivif.files.whole import remove_partial_files
from tests.resuming import differences, last, train


def kill_while_writing(number: int) -> None:
    """Ends this process in the middle of the file that it writes as the given one, half of it written or renamed."""
    count, replace, fsync = 0, Path.replace, os.fsync

    def dying_fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == number:
            with suppress(OSError):  # a folder has no half
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def dying_replace(self: Path, target: str | Path) -> Path:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", dying_fsync)
    patch.setattr(Path, "replace", dying_replace)


def train_in_child(folder: Path, kind: str, saved: Path, writing: int | None) -> int:
    """A process that trains, going on from what is there; it notes each finished save in a file."""
    child = os.fork()
    if child:
        return child
    save = WholeFileCheckpointIO.save_checkpoint

    def noted(self: WholeFileCheckpointIO, checkpoint: dict[str, Any], path: str | Path, **options: Any) -> None:
        save(self, checkpoint, path, **options)
        if Path(path).name == "last.ckpt":
            with saved.open("a") as stream:
                stream.write(f"{checkpoint['global_step']}\n")

    pytest.MonkeyPatch().setattr(WholeFileCheckpointIO, "save_checkpoint", noted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files(folder)
        resume = last(folder) if last(folder).is_file() else None
        if resume is None:
            cut_log(folder, 0)
        if writing is not None:
            kill_while_writing(writing)
        train(folder, kind, resume=resume, checkpoint=RunCheckpoint(every_n_train_steps=1), max_epochs=2)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def saved_steps(saved: Path) -> list[int]:
    """The steps of every save that was finished."""
    return [int(line) for line in saved.read_text().split()] if saved.is_file() else []


def check(folder: Path, saved: Path) -> None:
    """Every checkpoint loads, and none that was finished is lost."""
    steps = saved_steps(saved)
    for path in folder.glob("checkpoints/*.ckpt"):
        torch.load(path, weights_only=True)
    if steps:
        assert torch.load(last(folder), weights_only=True)["global_step"] >= max(steps), (folder, steps)


def main(base: Path, kind: str, seeds: list[int]) -> None:
    """Kills each seed's run twice, lets it end, and compares it with the undisturbed one."""
    torch.set_num_threads(1)
    begun = time.monotonic()
    assert os.waitpid(train_in_child(base / "whole", kind, base / "whole.txt", None), 0)[1] == 0
    duration = time.monotonic() - begun
    total = max(saved_steps(base / "whole.txt"))
    for seed in seeds:
        draw, folder, saved = random.Random(seed), base / f"killed{seed}", base / f"{seed}.txt"
        for _ in range(2):
            left = 1 - max(saved_steps(saved), default=0) / total  # what a run that goes on still has to do
            writing = draw.randrange(1, 2 + int(68 * left)) if seed % 2 else None
            child = train_in_child(folder, kind, saved, writing)
            if writing is None:
                time.sleep(draw.uniform(0.1, 0.9) * duration * left)
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, folder
            check(folder, saved)
            how = "ended" if os.WIFEXITED(status) else "killed"
            sys.stdout.write(f"{seed} {'writing' if writing else 'time'} {how}\n")
        assert os.waitpid(train_in_child(folder, kind, saved, None), 0)[1] == 0, folder
        assert differences(base / "whole", folder) == [], folder
        assert not list(folder.rglob(".*.partial"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(seed) for seed in sys.argv[3:]])
