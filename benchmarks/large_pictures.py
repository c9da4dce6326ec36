"""Seconds and memory of fusing a pair of TIFF files from file to file, in a process of its own.

    python benchmarks/large_pictures.py --side 20000 --tile 1024                          # a network of test size
    python benchmarks/large_pictures.py --side 10000 --tile 512 --model mgfusion-light

It writes the pair (16-bit infrared, colours of 8 bits, tiles of 512, deflate), which with the fused one takes 7 bytes a
pixel of disk, and then calls `ivif fuse`. The network of test size is an MGFusion of 4 channels without attention, with
random weights: it has CLIP's look at the whole pictures, and then takes one pass over them where the light one takes
four.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
import torch
from lightning import Trainer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig

ROOT: Final = Path(__file__).resolve().parent.parent

_BLOCK: Final = 512

_FUSE: Final = """
import json, sys, time
from ivif.commands.cli import main
from ivif.machine.peak_memory import peak_resident
start = time.perf_counter()
code = main(sys.argv[1:])
print(json.dumps({"code": code, "seconds": time.perf_counter() - start, "peak": peak_resident()}))
"""


def write_pair(side: int, folder: Path) -> tuple[Path, Path]:
    """Both pictures of a pair of a side, in which every tile differs from its neighbours."""
    block = np.random.default_rng(0).integers(0, 255, (_BLOCK, _BLOCK, 3)).astype(np.uint8) // 2
    count = -(-side // _BLOCK)

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for row in range(count):
            for column in range(count):
                yield block + np.uint8((row * 7 + column * 13) % 120)

    how: Any = {"tile": (_BLOCK, _BLOCK), "compression": "zlib", "maxworkers": 1, "metadata": None}
    infrared, visible = folder / "infrared.tif", folder / "visible.tif"
    deep = (part[..., 0].astype(np.uint16) * 257 for part in blocks())
    tifffile.imwrite(infrared, deep, shape=(side, side), dtype=np.uint16, **how)
    tifffile.imwrite(visible, blocks(), shape=(side, side, 3), dtype=np.uint8, photometric="rgb", **how)
    return infrared, visible


def small_network(folder: Path) -> Path:
    """A checkpoint of the network of test size."""
    torch.manual_seed(0)
    config = MGFusionConfig(channels=4, blocks=0, heads=1, expansion=1.0, use_cff=False)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(MGFusionTask("compact", config))
    trainer.save_checkpoint(folder / "small.ckpt")
    return folder / "small.ckpt"


def fuse(pair: tuple[Path, Path], out: Path, model: str, tile: int, threads: int) -> dict[str, float]:
    """Fuses a pair in a process of its own: its seconds, without the start of Python, and its peak memory in bytes."""
    line = ["fuse", *map(str, pair), f"--out={out}", f"--tile={tile}", f"--model={model}", "--device=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _FUSE, *line]
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found["code"]:
        raise RuntimeError("`ivif fuse` failed; its message is above.")
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=3000, help="of the pictures, in pixels (default: 3000)")
    parser.add_argument("--tile", type=int, default=512, help="side of the tiles (default: 512)")
    parser.add_argument("--model", default="", help="a name, as ivif fuse takes it (default: a network of test size)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--folder", type=Path, help="where pictures go (default: a temporary folder)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and writes the table."""
    options = parse(arguments)
    machine = describe_machine(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        pair = write_pair(options.side, folder)
        model = options.model or str(small_network(folder))
        found = fuse(pair, folder / "fused.tif", model, options.tile, options.threads)
    row: Row = {
        "variant": options.model or "test size",
        "pixels": f"{options.side}x{options.side}",
        "tile": str(options.tile),
        "seconds": f"{found['seconds']:.0f}",
        "peak GiB": f"{found['peak'] / 2**30:.2f}",
    }
    title = "A pair of TIFF files from file to file"
    show(title, [row])
    write(
        options.output,
        "large_pictures",
        heading("large_pictures", title, machine) + markdown([row]),
        {"large_pictures": [row]},
    )


if __name__ == "__main__":
    main()
