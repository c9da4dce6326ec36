"""Pictures per second of a trained MGFusion on the CPU, in each form that it is run in, beside the machine's limit.

    python benchmarks/inference.py [--model mgfusion-light] [--size 480x640] [--threads 2] [--no-compile]

One process measures all forms in turns, because machines and their load differ: the network with the published form of
its Restormer blocks, eager, compiled, and by onnxruntime (float32 and 8 bits), bytes in and bytes out; `ivif.load` of
arrays from the second picture on; and a matrix product of as many floating-point operations as the network has. What a
form costs in quality is said on generated scenes. Then files: `ivif.load` beside `ivif fuse` of folders.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ivif
from benchmarks.restormer_anchor import use_published_blocks
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write
from ivif.image_ops.color import luma_of_8bit
from ivif.inference.export import export_fusion
from ivif.inference.export.comparison import Bytes, onnx_function
from ivif.inference.export.graph import ByteFusion
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.metrics.functional import qabf
from ivif.models.mgfusion import MGFusionNetwork
from ivif.scenes import TIMES, render_scene

ROOT: Final = Path(__file__).resolve().parent.parent

LIMIT: Final = "matrix product"
NETWORK: Final = "eager"
PUBLISHED: Final = "published blocks"

_PAUSE: Final = 0.05
"""Seconds between two forms: onnxruntime's threads wait busily for a while after their last picture."""

Pair = tuple[Tensor, Tensor]
"""Infrared (1, H, W) and visible (1, H, W, 3), uint8."""


def forms(task: MGFusionTask, name: str, folder: Path, compiles: bool) -> dict[str, Bytes]:
    """What fuses one picture, from bytes to bytes, in each form.

    Args:
        task: In evaluation mode, on the CPU.
        name: What exported files say that they are.
        folder: Where exported files go.
        compiles: Whether to compile, which takes a minute.
    """
    published = copy.deepcopy(task)
    shape = network_of(published).config
    use_published_blocks(network_of(published), shape.channels, shape.heads, shape.expansion)
    found: dict[str, Bytes] = {PUBLISHED: plain(published.eval()), NETWORK: plain(task)}
    if compiles:
        compiled = copy.deepcopy(task)
        network_of(compiled).compile()
        found["compiled"] = plain(compiled)
    for label, int8 in (("onnxruntime, float32", False), ("onnxruntime, 8 bits", True)):
        file = folder / f"{'int8' if int8 else 'float32'}.onnx"
        export_fusion(task, file, "onnx", None, name, int8)
        found[label] = onnx_function(file, torch.get_num_threads())
    return found


def network_of(task: MGFusionTask) -> MGFusionNetwork:
    """The network that fuses in evaluation."""
    used: nn.Module = task.network if task.average is None else task.average.module
    return cast(MGFusionNetwork, used)


def plain(task: MGFusionTask) -> Bytes:
    """A task from bytes to bytes."""
    fusion = ByteFusion(task)

    def run(infrared: Tensor, visible: Tensor) -> Tensor:
        with torch.no_grad():
            fused: Tensor = fusion(infrared, visible)
        return fused

    return run


def operations(task: MGFusionTask, pair: Pair) -> int:
    """Floating-point operations of the task's convolutions and products on a pair, CLIP's included."""
    with FlopCounterMode(display=False) as counter:
        plain(task)(*pair)
    return int(counter.get_total_flops())


def product(count: int) -> Callable[[], Tensor]:
    """A product of two matrices of 1024 columns that takes so many operations."""
    rows = max(1, round(count / (2 * 1024 * 1024)))
    left, right = torch.rand(rows, 1024), torch.rand(1024, 1024)
    return lambda: left @ right


def measure(found: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each form: all in turns, after a first round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, run in found.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def quality(found: dict[str, Bytes], pairs: Sequence[Pair]) -> dict[str, tuple[float, int]]:
    """Mean Qabf of each form on some pairs, and the most grey levels by which a value differs from the network's."""
    expected = [found[NETWORK](*pair) for pair in pairs]
    result = {}
    for name, run in found.items():
        fused = [run(*pair) for pair in pairs]
        scores = [_qabf(picture, *pair) for picture, pair in zip(fused, pairs, strict=True)]
        differences = [(own.int() - other.int()).abs().max() for own, other in zip(fused, expected, strict=True)]
        result[name] = statistics.fmean(scores), int(max(differences))
    return result


def _qabf(fused: Tensor, infrared: Tensor, visible: Tensor) -> float:
    planes = [luma_of_8bit(picture.permute(0, 3, 1, 2).float() / 255) for picture in (fused, visible)]
    return float(qabf(planes[0], infrared[:, None].float(), planes[1]))


def scenes(size: tuple[int, int], count: int) -> list[Pair]:
    """Generated road scenes of a size, as bytes."""
    drawn = [render_scene(f"inference {seed}", TIMES[seed % len(TIMES)], size) for seed in range(count)]
    return [(torch.from_numpy(scene.infrared)[None], torch.from_numpy(scene.visible)[None]) for scene in drawn]


def rows_of(seconds: dict[str, list[float]], costs: dict[str, tuple[float, int]]) -> list[Row]:
    """One row for each form; the fastest pass of each is compared with the network's and the matrix product's."""
    limit, network = min(seconds[LIMIT]), min(seconds[NETWORK])
    rows = []
    for name, times in seconds.items():
        # published blocks have new weights: their pictures say nothing
        score, difference = costs.get(name, (None, None)) if name != PUBLISHED else (None, None)
        rows.append(
            {
                "variant": name,
                "pictures / s": f"{1 / statistics.median(times):.2f}",
                "median s": f"{statistics.median(times):.4f}",
                "min s": f"{min(times):.4f}",
                "min / matrix product": f"{min(times) / limit:.2f}",
                "min / eager": f"{min(times) / network:.3f}",
                "Qabf": "" if score is None else f"{score:.4f}",
                "levels from eager": "" if difference is None else str(difference),
            }
        )
    return rows


def files(name: str, size: tuple[int, int], count: int, folder: Path, threads: int) -> list[Row]:
    """Seconds for each further pair of files, PNG to PNG: of one process that calls `ivif.load`, and of `ivif fuse`.

    Half of the pairs are fused, then all: the difference is free of what a start costs. The faster of two times each.

    Args:
        name: The model.
        size: (height, width) of the pictures.
        count: Pairs, >= 2.
        folder: Where pictures go.
        threads: CPU threads.
    """
    few = count // 2
    for part, numbers in (("few", range(few)), ("all", range(count))):
        _save(scenes(size, count), numbers, folder / part)
    fuser = ivif.load(name, device="cpu")
    best: dict[tuple[str, str], float] = {}
    for turn in range(2):
        for part in ("few", "all"):
            runs: dict[str, Callable[[], None]] = {
                "Python": lambda part=part: _by_python(fuser, folder / part),  # type: ignore[misc]
                "command": lambda part=part, turn=turn: _by_command(  # type: ignore[misc]
                    name, folder / part, folder / f"{part}{turn}", threads
                ),
            }
            for way, run in runs.items():
                start = time.perf_counter()
                run()
                best[way, part] = min(best.get((way, part), float("inf")), time.perf_counter() - start)
    each = {way: (best[way, "all"] - best[way, "few"]) / (count - few) for way in ("Python", "command")}
    return [
        {
            "variant": way,
            "s / further pair": f"{seconds:.4f}",
            "of the command's": f"{seconds / each['command']:.2f}",
            f"s for {count} pairs": f"{best[way, 'all']:.1f}",
        }
        for way, seconds in each.items()
    ]


def _save(pairs: Sequence[Pair], numbers: Sequence[int], folder: Path) -> None:
    for place in ("ir", "vi", "out"):
        (folder / place).mkdir(parents=True)
    for number in numbers:
        for place, picture in zip(("ir", "vi"), pairs[number], strict=True):
            Image.fromarray(picture[0].numpy()).save(folder / place / f"{number:03d}.png")


def _by_python(fuser: Any, folder: Path) -> None:
    for infrared in sorted((folder / "ir").iterdir()):
        fuser(infrared, folder / "vi" / infrared.name).save(folder / "out" / infrared.name, compress_level=1)


def _by_command(name: str, folder: Path, out: Path, threads: int) -> None:
    pair = [str(folder / "ir"), str(folder / "vi")]
    line = [sys.executable, str(ROOT / "main.py"), "fuse", *pair, f"--out={out}", f"--model={name}", "--device=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(line, env=environment, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mgfusion-light", help="an MGFusion, as ivif.load takes it")
    parser.add_argument("--size", default="480x640", help="height and width (default: 480x640)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="passes of each form (default: 9)")
    parser.add_argument("--scenes", type=int, default=4, help="scenes that quality is measured on (default: 4)")
    parser.add_argument("--files", type=int, default=16, help="pairs of files, 0 for none (default: 16)")
    parser.add_argument("--no-compile", action="store_true", help="leaves the compiled network out")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the tables")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and writes the tables."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    machine = describe_machine(options.threads)
    height, width = map(int, options.size.split("x"))
    fuser = ivif.load(options.model, device="cpu")
    task = cast(MGFusionTask, fuser.task)
    pairs = scenes((height, width), max(1, options.scenes))
    count = operations(task, pairs[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = forms(task, options.model, folder, not options.no_compile)
        arrays: Any = [picture[0].numpy() for picture in pairs[0]]
        runs: dict[str, Callable[[], object]] = {
            label: lambda run=run: run(*pairs[0])  # type: ignore[misc]
            for label, run in found.items()
        }
        runs |= {"ivif.load": lambda: fuser(*arrays), LIMIT: product(count)}
        rows = rows_of(measure(runs, options.rounds), quality(found, pairs))
        of_files = (
            files(options.model, (height, width), options.files, folder, options.threads) if options.files else []
        )
    title = f"{options.model} on one picture of {height}x{width}, {count / 1e9:.1f} GFLOPs"
    show(title, rows)
    text = heading("inference", title, machine) + markdown(rows)
    tables = {"inference": rows}
    if of_files:
        show("From file to file", of_files)
        text += f"\n## From file to file\n\n{markdown(of_files)}"
        tables["inference_files"] = of_files
    write(options.output, "inference", text, tables)


if __name__ == "__main__":
    main()
