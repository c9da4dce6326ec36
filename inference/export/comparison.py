"""Whether an exported file fuses as `predict` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.inference.export.graph import ByteFusion

Size = tuple[int, int, int]
"""Batch, height and width."""

SIZES: Final[tuple[Size, ...]] = (
    *((1, 16, 16), (1, 17, 31), (2, 24, 40), (1, 33, 20), (1, 48, 48), (3, 50, 37), (1, 64, 64), (1, 61, 83)),
    *((2, 75, 94), (1, 96, 72), (1, 99, 101), (1, 128, 128), (1, 120, 160), (2, 130, 97), (1, 144, 176), (1, 201, 150)),
    *((1, 224, 224), (1, 240, 320), (1, 255, 257), (1, 360, 270)),
)
"""Of what is compared."""

MOST: Final = 1
"""Levels of 255 by which a pixel may differ: the last bits of a network decide how a level is rounded."""

Bytes = Callable[..., Tensor]
"""Infrared (B, H, W) and visible (B, H, W, 3), perhaps tokens (B, L), to fused (B, H, W, 3); pictures are uint8."""

Outputs = Callable[..., tuple[Tensor, ...]]
"""The same to fused and the parts of `ListedDetections`."""

Given = TypeVar("Given")


def largest_difference(exported: Bytes, plain: ByteFusion) -> tuple[int, Size]:
    """The most levels by which a pixel differs on pictures of `SIZES`, and at which of them."""
    found = 0, SIZES[0]
    for index, size in enumerate(SIZES):
        infrared, visible = pair_of_bytes(size, index)
        with torch.no_grad():
            expected = plain(infrared, visible).int()
        found = max(found, (int((exported(infrared, visible).int() - expected).abs().max()), size))
    return found


def pair_of_bytes(size: Size, seed: int) -> tuple[Tensor, Tensor]:
    """Smooth patches with some noise, the same for the same seed: (B, H, W) and (B, H, W, 3), uint8."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = size
    patches = torch.rand(batch, 4, 6, 8, generator=generator)
    noise = torch.randn(batch, 4, height, width, generator=generator) * 0.02
    planes = F.interpolate(patches, size=(height, width), mode="bilinear") + noise
    pixels = (planes.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return pixels[..., 0].contiguous(), pixels[..., 1:].contiguous()


def onnx_function(path: Path, threads: int = 0) -> Bytes:
    """An ONNX file, run by onnxruntime on the CPU; `threads` 0 takes as many as it likes."""
    outputs = onnx_outputs(path, threads)
    return lambda *inputs: outputs(*inputs)[0]


def onnx_outputs(path: Path, threads: int = 0) -> Outputs:
    """The same with all that the file gives."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        given = {name: part.numpy() for name, part in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(output) for output in session.run(None, given))

    return run


def with_text(exported: Callable[..., Given], tokens: Tensor) -> Callable[..., Given]:
    """A function of pictures and tokens with one text for all pairs, (1, L)."""
    return lambda infrared, visible: exported(infrared, visible, tokens.expand(len(infrared), -1).contiguous())


def torch_function(path: Path) -> Bytes:
    """An exported program, read back."""
    module: Any = torch.export.load(path).module()
    return lambda *inputs: module(*inputs)
