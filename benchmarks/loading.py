"""Pairs per second of the loaders beside bare PIL decoding of the same PNG pairs (640x480, 1280x1024), in one run.

    python benchmarks/loading.py [--root MSRS_FOLDER] [--pairs 192] [--repeats 7] [--output benchmarks/results]

Reads MSRS where it is there (`--root`), else writes generated pairs of that size. Every case runs once in each
repetition, so that other work on the machine disturbs all of them alike; a share is the median of the ratios within a
repetition. Files are hashed and labels parsed once a process, which is not counted. Prints a table and writes it as
loading.md and loading.csv.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in a worker process
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.contracts.batch import Batch, Sample  # noqa: E402
from ivif.datamodules.base import FusionDataModule, Source  # noqa: E402
from ivif.datamodules.configuration import LoadingConfig  # noqa: E402
from ivif.datamodules.datasets.base import PairedDataset  # noqa: E402
from ivif.datamodules.datasets.cache import CachedDataset  # noqa: E402
from ivif.datamodules.datasets.folder import FolderDataset  # noqa: E402
from ivif.datamodules.datasets.msrs import MSRS  # noqa: E402
from ivif.datamodules.datasets.synthetic import SyntheticDataset  # noqa: E402
from ivif.files.pictures import open_picture  # noqa: E402
from ivif.machine.allocator import tune_malloc  # noqa: E402

SIZE = (480, 640)
LARGE = (1024, 1280)
BATCH = 16
CACHED_PASSES = 4
"""A cached epoch is short: several make one measurement."""


@dataclass
class Case:
    """One way to get the pairs: `run` does it once and returns how many it got.

    Args:
        name: Row of the table.
        workers: Loader or decoder processes beside this one.
        run: The measured work.
        limit: Name of the case that bounds it.
        target: Least share of that bound, or least pairs per second where above 1.
    """

    name: str
    workers: str
    run: Callable[[], int]
    limit: str = ""
    target: float = 0.0
    rates: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Adds one repetition."""
        start = time.perf_counter()
        count = self.run()
        self.rates.append(count / (time.perf_counter() - start))


class BenchmarkData(FusionDataModule):
    """The suite's training loader (256x256 crops, flips, rotations) over one reader."""

    def __init__(self, reader: Dataset[Sample], workers: int) -> None:
        super().__init__(loading=LoadingConfig(batch_size=BATCH, num_workers=workers))
        self.reader = reader

    def sources(self) -> list[Source]:
        """None: the reader is given."""
        return []

    def stage_readers(self, stage: str) -> list[Dataset[Sample]]:
        """The given reader, for training."""
        return [self.reader] if stage == "train" else []


def open_pairs(root: Path, count: int, folder: Path) -> tuple[PairedDataset, str]:
    """MSRS pairs, repeated if there are few, or generated ones written to `folder`; and which of the two."""
    if (root / "test").is_dir():
        reader: PairedDataset = MSRS(root, "test")
        kind = f"{min(count, len(reader))} pairs of {root}"
    else:
        write_pairs(folder, min(count, 48), SIZE)
        reader = FolderDataset(folder)
        kind = f"{len(reader)} generated pairs (no MSRS under '{root}')"
    return repeated(reader, count), kind


def open_large_pairs(count: int, folder: Path) -> PairedDataset:
    """Generated pairs of LLVIP's size: what a crop leaves of them must not be paid for."""
    write_pairs(folder, min(count, 24), LARGE)
    return repeated(FolderDataset(folder), count)


def repeated(reader: PairedDataset, count: int) -> PairedDataset:
    """So many pairs of a reader, which come again if there are fewer."""
    return reader.select((reader.names * (count // len(reader.names) + 1))[:count])


def write_pairs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Generated scenes with sensor noise as PNG: without noise they would compress, and decode, too well."""
    scenes = SyntheticDataset(count, size)
    for kind in ("ir", "vi"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        sample, rng = scenes[index], np.random.default_rng(index)
        for kind, plane in (("ir", sample["infrared"][0]), ("vi", sample["visible"].permute(1, 2, 0))):
            noisy = plane.numpy() + rng.normal(0, 3, plane.shape)
            image = Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
            image.save(folder / kind / f"{index:04d}.png")


def decode(files: Sequence[Path]) -> int:
    """What no loader can avoid: the pixels of both files of each pair; returns the number of pairs."""
    for file in files:
        with open_picture(file) as image:
            np.asarray(image)
    return len(files) // 2


def decode_in_parallel(pool: Executor, files: Sequence[Path]) -> int:
    """The same by two workers, in pieces of one batch."""
    pieces = [files[start : start + 2 * BATCH] for start in range(0, len(files), 2 * BATCH)]
    return sum(pool.map(decode, pieces))


def drain(loader: DataLoader[Batch], passes: int = 1) -> int:
    """Takes every batch; returns the number of pairs."""
    return sum(len(batch["name"]) for _ in range(passes) for batch in loader)


def files_of(reader: PairedDataset) -> list[Path]:
    """Both images of every pair."""
    return [path for record in reader.records for path in (record.infrared, record.visible)]


def make_cases(reader: PairedDataset, large: PairedDataset, folder: Path, stack: ExitStack) -> list[Case]:
    """All cases, limits first. Readers and caches are warm when their worker processes are forked."""
    files = files_of(reader)
    processes = stack.enter_context(ProcessPoolExecutor(2))
    threads = stack.enter_context(ThreadPoolExecutor(2))
    cases = [
        Case("bare decode", "0", partial(decode, files)),
        Case("bare decode, 2 threads", "2", partial(decode_in_parallel, threads, files), "bare decode"),
        Case("bare decode, 2 processes", "2", partial(decode_in_parallel, processes, files), "bare decode"),
        Case("bare decode, large", "0", partial(decode, files_of(large))),
    ]
    caches = {mode: CachedDataset(reader, mode, folder) for mode in ("ram", "disk")}
    for index in range(len(reader)):
        for dataset in (reader, *caches.values()):
            dataset[index]
    planes = reader.select(reader.names)
    planes.has_labels = False
    for workers, limit, share in ((0, "bare decode", 0.95), (2, "bare decode, 2 processes", 0.93)):
        loader = BenchmarkData(planes, workers).train_dataloader()
        cases.append(Case("loader", str(workers), partial(drain, loader), limit, share))
        if reader.has_labels:
            loader = BenchmarkData(reader, workers).train_dataloader()
            cases.append(Case("loader, with boxes", str(workers), partial(drain, loader), limit, share))
        for mode, cache in caches.items():
            loader = BenchmarkData(cache, workers).train_dataloader()
            run = partial(drain, loader, CACHED_PASSES)
            cases.append(Case(f"loader, cache: {mode}", str(workers), run, limit, 0 if workers else 3000))
    loader = BenchmarkData(large, 0).train_dataloader()
    cases.append(Case("loader, large", "0", partial(drain, loader), "bare decode, large", 0.95))
    return cases


def table_rows(cases: Sequence[Case]) -> list[Row]:
    """One row for each case."""
    rates = {case.name: case.rates for case in cases}
    rows = []
    for case in cases:
        shares = [own / bound for own, bound in zip(case.rates, rates.get(case.limit, []), strict=False)]
        share = statistics.median(shares) if shares else 1.0
        reached, target = statistics.median(case.rates), f"{case.target:,.0f} pairs/s"
        if case.target <= 1:
            reached, target = share, f"{case.target:.0%} of {case.limit}"
        rows.append(
            {
                "case": case.name,
                "workers": case.workers,
                "pairs/s best": f"{max(case.rates):,.1f}",
                "pairs/s median": f"{statistics.median(case.rates):,.1f}",
                "share of decode": f"{share:.1%}" if case.limit else "",
                "target": target if case.target else "",
                "reached": ("yes" if reached >= case.target else "no") if case.target else "",
            }
        )
    return rows


def write_rows(folder: Path, about: str, rows: list[Row]) -> None:
    """Writes the table as Markdown and CSV."""
    text = heading("loading", "Loading of PNG pairs", about) + markdown(rows)
    text += (
        "\nLoaders give batches of 16 crops of 256x256, flipped and rotated. A share is the median over repetitions of "
        "the ratio to bare PIL decoding in the same repetition: by one process without workers, by two with two. "
        "Caches serve boxes, too, where there are any. `large` are generated pairs of 1280x1024, cropped to the same "
        "size. Files are hashed once a process (3 % of the first epoch) and labels parsed once, which is not counted.\n"
    )
    write(folder, "loading", text, {"loading": rows})


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/MSRS"), help="MSRS folder; generated pairs if missing")
    parser.add_argument("--pairs", type=int, default=192, help="pairs per repetition (default: 192)")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions (default: 7)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the table")
    return parser.parse_args(arguments)


def main() -> None:
    """Measures every case in alternation, prints and writes the table."""
    options = parse()
    tune_malloc()  # as main.py does
    torch.set_num_threads(1)
    machine = describe_machine(1)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        reader, kind = open_pairs(options.root, options.pairs, scratch / "pairs")
        large = open_large_pairs(max(1, options.pairs // 4), scratch / "large")
        cases = make_cases(reader, large, scratch / "cache", stack)
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        task = progress.add_task("warming up", total=len(cases) * (options.repeats + 1))
        for repeat in range(options.repeats + 1):
            for case in cases:
                case.measure()
                progress.advance(task)
                progress.update(task, description=f"repetition {repeat} of {options.repeats}")
    for case in cases:
        del case.rates[0]  # workers started in it
    about = f"{kind}, {options.pairs} draws a repetition, {options.repeats} repetitions. {machine}"
    rows = table_rows(cases)
    show(about, rows)
    write_rows(options.output, about, rows)
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
