"""Pairs per second of files beside those of shards (`data pack`), in one run: warm, and with the page cache emptied.

    python benchmarks/streaming.py [--repeats 5] [--folder SCRATCH] [--output benchmarks/results]

Generated pairs of two sizes, as PNG: small ones (64x64), of which opening files is a large part, and 640x480. Every
case reads all pairs once in each repetition, in one random order that all cases share; a share is the median of the
ratios within a repetition. Cold: what the kernel keeps of these files is given up before (posix_fadvise, after their
data was written back), which leaves what it keeps of names and folders, and what a disk or hypervisor keeps itself.
`bytes` reads without decoding; `samples` is what a loader gets. Files are hashed and shards compared with their digests
once a process, which is counted of cold shards alone. Prints a table and writes it as streaming.md and streaming.csv.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in a worker process
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from benchmarks.loading import write_pairs  # noqa: E402
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.commands.data.pack import pack  # noqa: E402
from ivif.datamodules.datasets.base import PairedDataset  # noqa: E402
from ivif.datamodules.datasets.folder import FolderDataset  # noqa: E402
from ivif.datamodules.folder import FolderDataModule  # noqa: E402
from ivif.files.packed import PackedFile  # noqa: E402
from ivif.machine.allocator import tune_malloc  # noqa: E402

SIZES = {"64x64": ((64, 64), 1000), "640x480": ((480, 640), 48)}
"""(height, width) and how many pairs."""


@dataclass
class Case:
    """One way to get all pairs of a size.

    Args:
        size: Of the pictures.
        what: `bytes` or `samples`.
        state: `warm` or `cold`.
        source: `files` or `shards`.
        reader: The pairs.
        folder: What lies on the disk.
        run: Gets all pairs once.
        rates: Pairs per second of each repetition.
    """

    size: str
    what: str
    state: str
    source: str
    reader: PairedDataset
    folder: Path
    run: Callable[[], int]
    rates: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Adds one repetition."""
        if self.state == "cold":
            empty_page_cache(self.folder)
            for record in self.reader.records:  # as a process that begins
                if isinstance(record.visible, PackedFile):
                    record.visible.pack.seen.clear()
        start = time.perf_counter()
        count = self.run()
        self.rates.append(count / (time.perf_counter() - start))


def empty_page_cache(folder: Path) -> None:
    """Has the kernel give up what it keeps of all files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)  # what was not written back would stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def read_bytes(reader: PairedDataset, order: Sequence[int]) -> int:
    """The content of both files of each pair."""
    for index in order:
        for path in (reader.records[index].infrared, reader.records[index].visible):
            path.read_bytes()
    return len(order)


def read_samples(reader: PairedDataset, order: Sequence[int]) -> int:
    """The samples, as a loader process gets them."""
    for index in order:
        reader[index]
    return len(order)


def make_cases(scratch: Path, sizes: Sequence[str]) -> list[Case]:
    """Writes pairs and packs them; files and shards of one kind stand one after the other."""
    cases = []
    for name in sizes:
        size, count = SIZES[name]
        files, shards = scratch / name, scratch / f"{name}-shards"
        write_pairs(files, count, size)
        pack(FolderDataModule(root=files), str(shards), 64.0)
        readers = {"files": (FolderDataset(files), files), "shards": (FolderDataset(shards), shards)}
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
        for what, get in (("bytes", read_bytes), ("samples", read_samples)):
            for state in ("warm", "cold"):
                for source, (reader, folder) in readers.items():
                    cases.append(Case(name, what, state, source, reader, folder, partial(get, reader, order)))
    return cases


def table_rows(cases: Sequence[Case]) -> list[Row]:
    """One row for files and shards of each kind."""
    rows = []
    for files, shards in zip(cases[::2], cases[1::2], strict=True):
        ratios = [after / before for before, after in zip(files.rates, shards.rates, strict=True)]
        rows.append(
            {
                "pictures": files.size,
                "what": files.what,
                "page cache": files.state,
                "files, pairs/s": f"{statistics.median(files.rates):,.1f}",
                "shards, pairs/s": f"{statistics.median(shards.rates):,.1f}",
                "shards / files": f"{statistics.median(ratios):.2f}",
                "least": f"{min(ratios):.2f}",
                "most": f"{max(ratios):.2f}",
            }
        )
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="repetitions (default: 5)")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="sizes of pictures")
    parser.add_argument("--folder", type=Path, default=None, help="scratch folder, on the disk to measure")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the table")
    return parser.parse_args(arguments)


def main() -> None:
    """Measures every case in alternation, prints and writes the table."""
    options = parse()
    tune_malloc()  # as main.py does
    torch.set_num_threads(1)
    machine = describe_machine(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        cases = make_cases(Path(scratch), options.sizes)
        repeats = range(options.repeats + 1)
        for _ in track(repeats, "measuring", console=Console(stderr=True), transient=True):
            for case in cases:
                case.measure()
    for case in cases:
        del case.rates[0]  # files are hashed in it
    rows = table_rows(cases)
    about = f"{options.repeats} repetitions. {machine}"
    show(about, rows)
    text = heading("streaming", "Files beside shards", about) + markdown(rows)
    counts = ", ".join(f"{count} of {name}" for name, (_, count) in SIZES.items() if name in options.sizes)
    text += (
        f"\nGenerated pairs as PNG ({counts}), read once in a repetition by one process, in one random order; shards "
        "of 64 MB. `bytes`: without decoding; `samples`: what a loader gets. Cold: the kernel has given up what it had "
        "of these files (posix_fadvise), and shards are compared with their digests anew; names and folders, and what "
        "the disk below keeps, stay known. The machine was shared (see the load): look at the ratios, which are of "
        "neighbouring measurements.\n"
    )
    write(options.output, "streaming", text, {"streaming": rows})
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
