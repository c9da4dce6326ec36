"""Runs `main.py fit` in child processes that are killed at seeded moments, and goes on; run by tests of the commands.

Half of the moments are times since the start, half are steps inside the writing of a file. Children are forked after
the imports, so that these are waited for once.
"""

import os
import random
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import ivif.commands.train.lightning_cli  # noqa: F401 - so that children do not import it
from ivif.configs import CONFIGS
from tests.commands.runs import tiny_run
from tests.kill_training import kill_while_writing
from tests.resuming import differences, last

WRITES = 65
"""About as many steps of writing as an undisturbed run has."""


def command(base: Path) -> list[str]:
    """What a user types: anew, or where there is a checkpoint, to go on."""
    for run in _runs(base):
        if last(run).is_file():
            return ["fit", "--resume", str(run)]
    options = ("--trainer.max_epochs=2", "--data.init_args.train_length=6", "--checkpoint.every_n_train_steps=1")
    return tiny_run("fit", base, *options, "--loading.cache=disk", f"--loading.cache_dir={base / 'cache'}")


def start(base: Path, writing: int | None = None) -> int:
    """`main.py` in a process of its own, which ends itself at a step of writing if it is given one."""
    base.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    output = os.open(base / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["main.py", *command(base)]
    if writing is not None:
        kill_while_writing(writing)
    try:
        runpy.run_path(str(CONFIGS.parent / "main.py"), run_name="__main__")
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def finish(base: Path) -> Path:
    """Lets a run go on to its end; its folder."""
    status = os.waitpid(start(base), 0)[1]
    assert status == 0, (base / "output.txt").read_text()
    (run,) = (run for run in _runs(base) if last(run).is_file())
    return run


def check(whole: Path, base: Path, run: Path) -> None:
    """The same weights, rows and panels, and no other file than an undisturbed run has."""
    assert differences(whole, run) == [], base
    assert _files(run) == _files(whole), base
    for panel in whole.glob("panels/**/*.png"):
        assert (run / panel.relative_to(whole)).read_bytes() == panel.read_bytes(), panel
    assert list(whole.glob("panels/**/*.png"))
    assert _files(base / "cache") == _files(whole.parents[1] / "cache"), base


def main(base: Path, seeds: list[int]) -> None:
    """Kills each seed's run twice, lets it end, and compares it with the undisturbed one."""
    torch.set_num_threads(1)
    begun = time.monotonic()
    whole = finish(base / "whole")
    duration = time.monotonic() - begun
    for seed in seeds:
        draw, own = random.Random(seed), base / f"killed{seed}"
        for _ in range(2):
            writing = draw.randrange(1, WRITES) if seed % 2 else None
            child = start(own, writing)
            if writing is None:
                time.sleep(draw.uniform(0.1, 0.9) * duration)
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, (own / "output.txt").read_text()
            how = "ended" if os.WIFEXITED(status) else "killed"
            sys.stdout.write(f"{seed} {'writing' if writing else 'time'} {how}\n")
        check(whole, own, finish(own))


def _runs(base: Path) -> list[Path]:
    return sorted(path for path in base.glob("tiny/*") if not path.is_symlink())


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
