"""Many tiny pairs fused in shards by several processes that are killed at seeded moments: what is lost, doubled, added.

    python benchmarks/shards.py [--pairs 10000] [--shards 8] [--processes 2] [--kills 20] [--size 32] [--model classic]
                                [--batch 16]

Random pictures are written first (kept in `--work` for the next time). Then as many processes as asked for make the
shards, each by `ivif predict --shard`; a killed one is begun again, and at the end `predict merge` joins them. *Lost*
are pairs without a picture, *doubled* those whose picture was written again after it was there. `--model light` takes
the smallest MGFusion (8 channels, one block, untrained), `classic` the Laplacian pyramid.

The overhead is that of `predict` over a bare loop (read both files, fuse as many pairs at a time, write each PNG) in
one process, in stretches that take turns; times are processor time, because other work on a machine changes it least.
Memory is what that process held after a tenth of these pictures, and at the end.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.callbacks.images import save_atomically  # noqa: E402
from ivif.callbacks.prediction_writer import PredictionWriter  # noqa: E402
from ivif.commands.cli import main as command_line  # noqa: E402
from ivif.files.pictures import open_picture  # noqa: E402
from ivif.image_ops.pictures import to_picture  # noqa: E402

STRETCH: Final = 64
"""Pairs, a multiple of the batches tried."""

MODELS: Final = {
    "classic": ("--config=classic.yaml",),
    "light": (
        "--config=mgfusion.yaml",
        "--model.clip=random-tiny",
        "--model.network.channels=8",
        "--model.network.heads=2",
        "--model.network.blocks=1",
        "--allow_random_weights",
    ),
}
QUIET: Final = (
    "--data=folder.yaml",
    "--data.reading.labels=false",
    "--loading.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


def make_pairs(root: Path, pairs: int, size: int) -> None:
    """Writes random pictures, those that are not there yet."""
    draw = np.random.default_rng(0)
    for number in range(pairs):
        for folder, shape in (("ir", (size, size)), ("vi", (size, size, 3))):
            path = root / folder / f"{number % 1000:03}_{number:07}.png"
            pixels = draw.integers(0, 256, shape, dtype=np.uint8)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path, compress_level=0)


def line(root: Path, out: Path, given: argparse.Namespace, *options: str) -> list[str]:
    """`predict` of all pairs, or of the shard that the options name."""
    data = f"--data.root={root}", f"--output_dir={out}", f"--loading.predict_batch={given.batch}"
    return ["predict", *MODELS[given.model], *QUIET, *data, *options]


def run(arguments: Sequence[str]) -> None:
    """Runs a command line in this process.

    Raises:
        RuntimeError: If it fails.
    """
    if code := command_line(arguments):
        raise RuntimeError(f"{arguments[:2]} ended with {code}")


@dataclass
class Running:
    """A process that makes a shard.

    Args:
        shard: Which.
        process: The process.
    """

    shard: int
    process: subprocess.Popen[bytes]


def start(root: Path, out: Path, given: argparse.Namespace, shard: int) -> Running:
    """Begins or goes on with a shard."""
    command = [sys.executable, str(ROOT / "main.py"), *line(root, out, given, f"--shard={shard}/{given.shards}")]
    with (out.parent / f"shard{shard}.log").open("ab") as log:
        return Running(shard, subprocess.Popen(command, stdout=log, stderr=log))


def held_memory() -> float:
    """MiB that this process holds."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith("VmRSS"))


def pictures(out: Path) -> Iterator[os.DirEntry[str]]:
    """The pictures that are there."""
    if out.is_dir():
        with os.scandir(out) as entries:
            yield from (one for one in entries if one.name[-4:] == ".png" and one.name[0] != ".")


def times(out: Path) -> dict[str, int]:
    """When each picture that is there was written."""
    return {one.name: one.stat().st_mtime_ns for one in pictures(out)}


def make_shards(root: Path, out: Path, given: argparse.Namespace) -> tuple[int, dict[str, int]]:
    """Makes all shards, killing some processes; how many, and when the pictures that were there then were written."""
    draw, waiting, running = random.Random(given.seed), list(range(1, given.shards + 1)), list[Running]()
    killed, seen, due, counting = 0, dict[str, int](), given.pairs / (given.kills + 1), 0.0
    while waiting or running:
        while waiting and len(running) < given.processes:
            running.append(start(root, out, given, waiting.pop(0)))
        time.sleep(max(0.2, 10 * counting))  # counting a million takes time that the shards need
        for one in list(running):
            if (code := one.process.poll()) is None:
                continue
            running.remove(one)
            if code:
                raise RuntimeError(f"shard {one.shard} ended with {code}: see {out.parent}")
        begun = time.monotonic()
        count = sum(1 for _ in pictures(out))
        counting = time.monotonic() - begun
        if running and killed < given.kills and count > due * (killed + draw.random()):
            there, one = times(out), draw.choice(running)
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
            running.remove(one)
            waiting.insert(draw.randrange(len(waiting) + 1), one.shard)
            seen = there | seen
            killed += 1
    return killed, seen


def bare(task: Any, root: Path, out: Path, batch: int) -> Iterator[None]:
    """The loop that anybody would write, a stretch of it at a time."""
    names = sorted(path.name for path in (root / "ir").iterdir())
    out.mkdir()
    for first in range(0, len(names), batch):
        some = names[first : first + batch]
        pair = {"infrared": read([root / "ir" / name for name in some])[:, None]}
        pair["visible"] = read([root / "vi" / name for name in some]).permute(0, 3, 1, 2)
        with torch.inference_mode():
            fused = task.fuse({**pair, "dataset": ["folder"] * len(some), "name": some})["fused"]
        for name, picture in zip(some, fused, strict=True):
            save_atomically(to_picture(picture), out / name)
        if (first + batch) % STRETCH == 0:
            yield


def read(paths: Sequence[Path]) -> torch.Tensor:
    """Pictures of one size, in [0, 1]."""
    planes = []
    for path in paths:
        with open_picture(path) as picture:
            planes.append(torch.from_numpy(np.array(picture)))
    return torch.stack(planes) / 255


def overhead(root: Path, work: Path, given: argparse.Namespace) -> tuple[float, float, list[float]]:
    """Milliseconds of processor time that a pair takes in a bare loop, and in `predict`: medians of neighbours.

    Returns:
        Both, and the MiB that the process held after each stretch.
    """
    taken: list[tuple[float, float]] = []
    memory: list[float] = []
    loop: list[Iterator[None]] = []
    begun, write_batch = [0.0], PredictionWriter.on_predict_batch_end

    def timed(self: PredictionWriter, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        write_batch(self, trainer, module, outputs, batch, index)
        if (index + 1) * given.batch % STRETCH == 0:
            ours = time.process_time() - begun[0]
            loop[:] = loop or [bare(module, root, work / "bare", given.batch)]
            before = time.process_time()
            next(loop[0], None)
            taken.append((time.process_time() - before, ours))
            memory.append(held_memory())
            begun[0] = time.process_time()

    batches = min(given.pairs, given.timed) // given.batch
    options = (f"--trainer.limit_predict_batches={batches}", "--shard=1/1")
    with patch.object(PredictionWriter, "on_predict_batch_end", timed):
        run(line(root, work / "predicted", given, *options))
    pieces = [(1000 * plain / STRETCH, 1000 * ours / STRETCH) for plain, ours in taken[1:]]
    plain = statistics.median(one for one, _ in pieces)
    return plain, plain + statistics.median(ours - one for one, ours in pieces), memory


def measure(given: argparse.Namespace, work: Path) -> Row:
    """One row of the table."""
    root, place = work / f"pairs{given.size}", Path(tempfile.mkdtemp(dir=work))
    begun = time.monotonic()
    make_pairs(root, given.pairs, given.size)
    made, out = time.monotonic() - begun, place / "out"
    plain, ours, memory = overhead(root, place, given)
    begun = time.monotonic()
    killed, seen = make_shards(root, out, given)
    lasted = time.monotonic() - begun
    begun = time.monotonic()
    run(["predict", "merge", str(out)])
    merged, after = time.monotonic() - begun, times(out)
    return {
        "model": given.model,
        "batch": str(given.batch),
        "pairs": str(given.pairs),
        "shards": str(given.shards),
        "kills": str(killed),
        "lost": str(given.pairs - len(after)),
        "doubled": str(sum(after[name] != when for name, when in seen.items() if name in after)),
        "bare loop, ms a pair": f"{plain:.2f}",
        "predict": f"{ours:.2f}",
        "overhead": f"{100 * (ours / plain - 1):.0f} %",
        "memory after a tenth, MiB": f"{memory[len(memory) // 10]:.1f}",
        "at the end": f"{memory[-1]:.1f}",
        "making pairs, s": f"{made:.0f}",
        "shards, s": f"{lasted:.0f}",
        "merge, s": f"{merged:.1f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--size", type=int, default=32, help="Height and width of the pictures.")
    parser.add_argument("--model", choices=tuple(MODELS), default="classic")
    parser.add_argument("--batch", type=int, default=1, help="Pairs that predict fuses at a time (default: 1).")
    parser.add_argument("--timed", type=int, default=2000, help="Pairs of which the overhead is measured.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="Folder of pictures and logs, which stay; default: a temporary one.")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine = describe_machine(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        row = measure(given, work)
    show("shards", [row])
    asked = {name: value for name, value in vars(given).items() if name not in ("work", "output")}
    command = " ".join(["python benchmarks/shards.py", *(f"--{name} {value}" for name, value in asked.items())])
    text = heading("shards", "Many pairs in shards, with kills", machine, command)
    write(given.output, "shards", text + markdown([row]), {"shards": [row]})


if __name__ == "__main__":
    main()
