"""Makes the shards of a folder in child processes that are killed at seeded moments; run by tests of shards.

Children are forked after the imports. Two write at a time; half of the kills come at a time, half inside the writing
of a file.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import ivif.commands.train.lightning_cli  # noqa: F401 - so that children do not import it
from ivif.commands.cli import main as command_line
from tests.kill_training import kill_while_writing

PAIRS = 12
SHARDS = 3
LINE = (
    "predict",
    "--config=classic.yaml",
    "--data=folder.yaml",
    "--loading.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


def start(line: list[str], log: Path, writing: int | None = None) -> int:
    """The command in a process of its own, which ends itself at a step of writing if it is given one."""
    child = os.fork()
    if child:
        return child
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if writing is not None:
        kill_while_writing(writing)
    try:
        os._exit(command_line(line))
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(line: list[str], log: Path) -> None:
    """Runs a command to its end."""
    assert os.waitpid(start(line, log), 0)[1] == 0, log.read_text()


def pictures(folder: Path) -> dict[str, int]:
    """When each picture was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}


def disturb(line: list[str], out: Path, seed: int, duration: float) -> int:
    """Makes all shards, of which processes are killed; how many were."""
    draw, log, killed = random.Random(seed), out.with_suffix(".txt"), 0
    kills = [shard for shard in range(1, SHARDS + 1) for _ in range(2)]
    draw.shuffle(kills)
    for first, second in zip(kills[::2], kills[1::2], strict=True):
        before = pictures(out)
        moment = draw.randrange(1, 2 + PAIRS // SHARDS) if draw.random() < 0.5 else None
        child = start([*line, f"--shard={first}/{SHARDS}"], log, moment)
        other = start([*line, f"--shard={second}/{SHARDS}"], log) if second != first else None
        if moment is None:
            time.sleep(draw.uniform(0.3, 1.0) * duration)
            os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if other is not None:
            assert os.waitpid(other, 0)[1] == 0, log.read_text()
        after = pictures(out)
        assert {name: after.get(name) for name in before} == before, seed  # none lost, none made again
    for shard in range(1, SHARDS + 1):
        before = pictures(out)
        finish([*line, f"--shard={shard}/{SHARDS}"], log)
        after = pictures(out)
        assert {name: after.get(name) for name in before} == before, seed
    for _ in range(2):  # a merge that is killed is made again
        child = start(["predict", "merge", str(out)], log, draw.randrange(1, 4))
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if not (out / "shards").exists():
            return killed
    finish(["predict", "merge", str(out)], log)
    return killed


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, but the lock of a command that was killed after its work."""
    found = [path for path in folder.rglob("*") if path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


def main(base: Path, seeds: list[int]) -> None:
    """Compares each seed's folder with that of one undisturbed command."""
    torch.set_num_threads(1)
    finish(["data", "scenes", f"--out={base / 'scenes'}", f"--count={PAIRS}", "--size=[32,32]"], base / "scenes.txt")
    own = [*LINE, f"--data.root={base / 'scenes'}"]
    begun = time.monotonic()
    finish([*own, f"--output_dir={base / 'whole'}"], base / "whole.txt")
    duration = time.monotonic() - begun
    whole = files(base / "whole")
    assert len(whole) == PAIRS + 1
    for seed in seeds:
        out = base / f"out{seed}"
        killed = disturb([*own, f"--output_dir={out}"], out, seed, duration)
        assert files(out) == whole, (seed, files(out).keys() ^ whole.keys())
        sys.stdout.write(f"{seed} killed {killed}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
