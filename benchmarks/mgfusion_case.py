"""One measurement of a fusion network, in a process of its own so that its peak memory is its own.

    python -m benchmarks.mgfusion_case '{"task": "infer", "height": 480, "width": 640}'

prints one line of JSON: the seconds of each repetition, the peak memory and what the process held before.
"""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import Parameter

from benchmarks.networks import build
from benchmarks.restormer_anchor import use_published_blocks
from ivif.contracts.batch import batch_to_float, collate
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.datasets.transforms import RandomCrop
from ivif.image_ops.color import luma
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.machine.allocator import tune_malloc
from ivif.machine.peak_memory import peak_resident
from ivif.models.clip import build_image_text_encoder

MIB = 2**20


@dataclass(frozen=True)
class Case:
    """What to measure; batch 1, with CLIP's vectors as wide as ViT-B/32's.

    Attributes:
        task: `train` (forward, both losses, backward, fused Adam), `infer`, `data` (reads a 640x480 PNG pair and crops
            it), or `clip` (both images through the encoder).
        height: Height in pixels.
        width: Width in pixels.
        variant: `fp32`, `bf16` (autocast), `compiled` (as `--compilation.enabled true` does it, fp32), `compiled, bf16`
            or `published` (the anchor's blocks, fp32).
        device: `cpu` or `cuda`.
        tuned: Whether `ivif.machine.allocator.tune_malloc` is called first.
        encoder: Which encoder `clip` measures.
        threads: CPU threads.
        repeats: Repetitions at most, after two that do not count.
        seconds: Stops repeating after this long, once there are three.
        method: Whose network; see `benchmarks.networks.METHODS`.
        preset: `base` or `light`.
        compiler: Backend of `torch.compile`.
    """

    task: Literal["train", "infer", "data", "clip"]
    height: int
    width: int
    variant: Literal["fp32", "bf16", "compiled", "compiled, bf16", "published"] = "fp32"
    device: str = "cpu"
    tuned: bool = True
    encoder: str = ""
    threads: int = 2
    repeats: int = 7
    seconds: float = 12.0
    method: str = "mgfusion"
    preset: str = "base"
    compiler: str = "inductor"

    def to_json(self) -> str:
        """The case as an argument for this module."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Measurement:
    """Seconds of each repetition, and memory in MiB: the peak, and what was held before the network existed."""

    seconds: list[float]
    peak: float
    before: float


def resident_peak() -> float:
    """The largest resident memory of this process so far, in MiB."""
    return peak_resident() / MIB


def network_action(case: Case) -> Callable[[], object]:
    """A training step or an inference of a network."""
    device = torch.device(case.device)
    network, fuse = build(case.method, case.preset)
    if case.variant == "published":
        config: Any = network.config
        use_published_blocks(network, config.channels, config.heads, config.expansion)
    network.to(device).train(case.task == "train")
    if case.variant.startswith("compiled"):
        torch.compiler.reset()
        for part in network.children():
            part.compile(backend=case.compiler)
    images = torch.rand(1, 4, case.height, case.width, device=device)
    autocast = torch.autocast(case.device, torch.bfloat16, enabled=case.variant.endswith("bf16"))

    def run() -> Tensor:
        with autocast:
            return fuse(network, images)

    def infer() -> object:
        with torch.inference_mode():
            return run()

    return infer if case.task == "infer" else _training_step(list(network.parameters()), run, images, autocast)


def _training_step(
    parameters: list[Parameter], run: Callable[[], Tensor], images: Tensor, autocast: torch.autocast
) -> Callable[[], object]:
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    infrared, brightness = images[:, :1], luma(images[:, 1:])

    def step() -> None:
        optimizer.zero_grad()
        fused = run()
        with autocast:
            intensity = intensity_max_loss(fused, infrared, brightness)
            loss = gradient_max_loss(fused, infrared, brightness) + 0.2 * intensity
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def clip_action(case: Case) -> Callable[[], object]:
    """Both images of a pair through a frozen encoder."""
    encoder = build_image_text_encoder(case.encoder).to(case.device)
    images = torch.rand(1, 4, case.height, case.width, device=case.device)

    def encode() -> object:
        with torch.no_grad():
            return encoder.encode_pair(images[:, :1], images[:, 1:])

    return encode


def data_action(case: Case, folder: Path) -> Callable[[], object]:
    """Reads pairs of 640x480 PNG files as training (with a crop) or prediction does."""
    for index, scene in enumerate(map(SyntheticDataset(4, (480, 640)).__getitem__, range(4))):
        for name, plane in (("ir", scene["infrared"][0]), ("vi", scene["visible"].permute(1, 2, 0))):
            (folder / name).mkdir(exist_ok=True)
            grain = np.random.default_rng(index).integers(-3, 4, plane.shape)  # photographs have noise to decode
            pixels = (plane.numpy().astype(int) + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    dataset, turn = FolderDataset(folder), iter(range(10**9))
    crop, generator = RandomCrop((case.height, case.width)), torch.Generator().manual_seed(0)

    def read() -> object:
        return batch_to_float(collate([crop(dataset[next(turn) % 4], generator)]))

    return read


def measure(case: Case) -> Measurement:
    """Runs a case in this process."""
    if case.tuned:
        tune_malloc()
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    on_gpu = case.device == "cuda"
    if on_gpu:  # several cases may share a process: each has a peak of its own
        torch.cuda.init()  # type: ignore[no-untyped-call] # before it, there is no peak to reset
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() / MIB if on_gpu else resident_peak()
    with tempfile.TemporaryDirectory() as folder:
        if case.task == "data":
            action = data_action(case, Path(folder))
        else:
            action = clip_action(case) if case.task == "clip" else network_action(case)
        seconds = _repeat(action, case, torch.cuda.synchronize if on_gpu else lambda: None)
    peak = torch.cuda.max_memory_allocated() / MIB if on_gpu else resident_peak()
    return Measurement(seconds, peak, before)


def _repeat(action: Callable[[], object], case: Case, synchronize: Callable[[], None]) -> list[float]:
    for _ in range(2):
        action()
    seconds: list[float] = []
    while len(seconds) < case.repeats and (len(seconds) < 3 or sum(seconds) < case.seconds):
        synchronize()
        start = time.perf_counter()
        action()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Case(**json.loads(sys.argv[1]))))))
